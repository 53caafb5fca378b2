"""Every command line that cannot be used: status 2, nothing on stdout, one line on stderr."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ASK = ("--model", "demo", "--prompt", "The capital of France is", "--target", "Paris")
HUGE = "9" * 40


@pytest.fixture
def places(tmp_path: Path, facts: Path) -> dict[str, str]:
    """Files and folders that are not what they should be."""
    found = {"tmp": str(tmp_path), "facts": str(facts), "none": str(tmp_path / "none")}
    contents = {
        "empty.csv": b"",
        "blank.csv": b"\n\n \n",
        "binary.csv": bytes(range(256)),
        "binary.jsonl": bytes(range(256)),
        "binary.parquet": bytes(range(256)),
        "binary.feather": b"ARROW1" + bytes(range(256)),
        "wide.csv": b"prompt,answer\nLondon, the capital, is in,England\n",
        "narrow.csv": b"prompt,answer\nThe capital\n",
        "open.csv": b'prompt,answer\n"The capital,x\n',
        "twice.csv": b"prompt,answer,answer\nx,a,b\n",
        "twice.jsonl": b'{"prompt": "x", "answer": "a", "answer": "b"}\n',
        "deep.jsonl": b"[" * 100_000,
        "number.jsonl": b'{"prompt": "x", "answer": 1.5}\n',
        "null.jsonl": b'{"prompt": null, "answer": "a"}\n',
        "surrogate.jsonl": b'{"prompt": "\\ud800", "answer": "a"}\n',
        "header.csv": b"prompt,answer\n",
        "other.csv": b"question,reply\nx,y\n",
        "semicolon.csv": b"prompt;answer\nx;y\n",
        "notes.txt": b"prompt,answer\nx,y\n",
        "secret.csv": b"prompt,answer\nx,y\n",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        found[name.replace(".", "_")] = str(tmp_path / name)
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{not json")
    found["model"] = str(model)
    (tmp_path / "secret.csv").chmod(0)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    return found | {"loop": str(tmp_path / "loop")}


OPTIONS = [
    *(("--shifts", s) for s in (
        "", ":", "::", "1", "1:2", "a:b:c", "1:2:3:4", "0:0:1", "1:2:0", "2:1:1", "nan:1:1",
        "-inf:inf:1", "0:1:nan", "1e999999999999:1:1", "1:1e999999999999:1", "0:1:1e-999999999",
        "-1e400:1e400:1e399", "0:1:1e-300", "1e300:1e301:1e300", "0x1:2:1", "1:2:3\x1b[31m",
    )),
    *(("--neurons", n) for n in (
        "", " ", "0", "0:", ":0", "0:0:0", "-1:0", "0:-1", "99:0", "0:99999", f"{HUGE}:0",
        f"0:{HUGE}", "top:0", f"top:{HUGE}", "top:-1", "random:0", "random:x", f"random:{HUGE}",
        "ALL", "0:0,0:0", "0:0;1:1", "[red]", "0:1,", "1.5:2",
    )),
    *(("--memory", m) for m in ("", "0", "-1", "1.5", "all", "4 elephants", "0.1k", HUGE + "T")),
    *(("--tol", t) for t in ("0", "1", "-1", "nan", "inf", "x", "")),
    *(("--device", d) for d in (
        "xpu", "meta", "abacus", "cuda", "cuda:99", "mps", "cpu:99", "", "cpu:-1", "[bold]",
    )),
    *(("--dtype", d) for d in ("int8", "float", "", "complex64")),
    *(("--method", m) for m in ("", "magic", "DELTA")),
    *(("--site", s) for s in ("", "down", "pre")),
    *(("--axis", a) for a in ("", "up")),
    *(("--seed", s) for s in ("-1", "x", "1.5", HUGE)),
    *(("--mask-index", m) for m in ("-1", "0", "x", HUGE)),
    *(("--resolution", r) for r in ("", "fine")),
    *(("--output", p) for p in (
        "{tmp}", "{none}/out.csv", "{tmp}/out", "{tmp}/out.xlsx", "{facts}/out.csv", "/proc/o.csv",
        "~nouser/out.csv", "{loop}/out.csv", "x" * 5000 + ".csv", "",
    )),
    *(("--plot", p) for p in ("{facts}", "{facts}/figures", "/proc/figures", "x" * 5000)),
    *(("--model", m) for m in (
        "", "{tmp}", "{none}", "{facts}", "{model}", "~nouser", "~nouser/model", "./none", "/",
        "/dev/null", "no such model", "a/b/c", "[red]", "x" * 5000,
    )),
]  # fmt: skip
FILES = [
    "{none}", "{tmp}", "{none}.csv", "{empty_csv}", "{blank_csv}", "{binary_csv}",
    "{binary_jsonl}", "{binary_parquet}", "{binary_feather}", "{wide_csv}", "{narrow_csv}",
    "{open_csv}", "{twice_csv}", "{twice_jsonl}", "{deep_jsonl}", "{number_jsonl}",
    "{null_jsonl}", "{surrogate_jsonl}", "{header_csv}", "{other_csv}", "{semicolon_csv}",
    "{notes_txt}", "~nouser/p.csv", "{loop}", "{loop}.csv", "/dev/null", "x" * 5000 + ".csv", "",
]  # fmt: skip
WHOLE = [
    ("sweeep",),
    ("sweep", "--modle", "demo"),
    ("sweep", "--model"),
    ("sweep",),
    ("grad", "--model", "demo"),
    ("grad", *ASK, "stray"),
    ("grad", *ASK, "--shifts", "1:2:1"),
    ("grad", *ASK, "--chat"),
    ("grad", *ASK, "--resume"),
    ("grad", *ASK, "--target", "London"),
    ("grad", "--model", "demo", "--prompt", "", "--target", "x"),
    ("grad", "--model", "demo", "--prompt", "x", "--target", "two words"),
    ("grad", "--model", "demo", "--prompt", "The " * 1000, "--target", "Paris"),
    ("grad", "--model", "demo", "--prompt", "\x1b[31m", "--target", "[/]"),
    ("info", "--model", "{tmp}"),
    ("info", "--model", "~nouser"),
    ("info", "--model", "{model}"),
    ("info", "extra"),
    ("info", "--model", "./none"),
    ("info", "--model", ""),
    ("demo", "--model", "none"),
    ("demo", "--seed", "-1"),
    ("demo", "--write-prompts", "{tmp}"),
    ("demo", "--write-prompts", "{none}/facts.csv"),
    ("demo", "--write-prompts", "{tmp}/facts.txt"),
    ("sweep", *ASK, "--json", "--output", "-"),
    ("prompts", "--model", "demo", "{facts}", "--template", "{{prompt!z}}"),
    ("prompts", "--model", "demo", "{facts}", "--template", "{{prompt:>99999999999}}"),
    ("prompts", "--model", "demo", "{facts}", "--chat"),
    ("prompts", "--model", "demo", "{facts}", "--output", "{none}/known.csv"),
    ("data", "report", "--task", "paws", "--output", "{tmp}/report.txt"),
    ("data", "reprot"),
    ("data", "report", "--task", "none"),
    ("data", "report", "--root", "{none}"),
    ("probe", "--model", "demo"),
    ("probe", "--model", "demo", "--task", "none"),
    ("probe", "--model", "demo", "table99", "--task", "paws"),
    ("probe", "--model", "demo", "--task", "paws", "--root", "{none}"),
    ("probe", "--model", "demo", "--task", "paws", "--limit", "-3"),
    ("reproduce", "--model", "demo", "fig99"),
    ("reproduce", "--model", "demo", "fig3", "table3"),
    ("reproduce", "--model", "demo", "fig3", "--limit", "0"),
    ("reproduce", "--model", "demo", "fig3", "--output", "{facts}"),
    ("reproduce", "--model", "demo", "fig3", "--prompts", "{empty_csv}"),
    ("reproduce", "--model", "{none}", "fig3", "--prompts", "{facts}"),
    ("reproduce", "--model", "demo", "fig3", "--light"),
    ("reproduce", "--model", "demo", "fig3", "--seed", HUGE),
]


def refused(said: tuple[int, str, str]) -> None:
    status, out, err = said
    assert (status, out) == (2, ""), err
    assert err.startswith("negkernel: ")
    assert err.count("\n") == 1
    assert err.endswith("\n")
    assert "Traceback" not in err
    assert "not foreseen" not in err
    assert all(c.isprintable() for c in err[:-1])


@pytest.mark.parametrize(("option", "value"), OPTIONS, ids=lambda text: text[:40])
def test_options(negkernel, places: dict[str, str], option: str, value: str):
    given = (*ASK[2:], *((option, value.format(**places)) if option == "--model" else ASK[:2]))
    extra = () if option == "--model" else (option, value.format(**places))
    refused(said := negkernel("sweep", *given, *extra))
    assert option in said[2]


@pytest.mark.parametrize("path", FILES, ids=lambda text: text[:40])
def test_prompt_files(negkernel, places: dict[str, str], path: str):
    refused(said := negkernel("grad", "--model", "demo", "--prompts", path.format(**places)))
    assert "--prompts" in said[2]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_an_unreadable_prompt_file(negkernel, places: dict[str, str]):
    refused(negkernel("grad", "--model", "demo", "--prompts", places["secret_csv"]))


@pytest.mark.parametrize("line", WHOLE, ids=lambda words: " ".join(words)[:60])
def test_whole_lines(negkernel, places: dict[str, str], line: tuple[str, ...]):
    refused(negkernel(*(word.format(**places) for word in line)))


def test_a_process_of_its_own_says_one_line_too(places: dict[str, str]):
    """Not only inside a process that has imported everything already."""
    command = [sys.executable, "-m", "neurgrad.cli", "grad", *ASK, "--neurons", "99:0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    refused((done.returncode, done.stdout, done.stderr))


def test_only_debug_shows_a_traceback(negkernel, monkeypatch: pytest.MonkeyPatch):
    from negkernel import Engine

    def broken(*given: object, **options: object) -> None:
        raise KeyError("something")

    monkeypatch.setattr(Engine, "gradients", broken)
    status, _, err = negkernel("grad", *ASK)
    assert status == 2
    assert "Traceback" not in err
    assert "KeyError" in err.splitlines()[-1]
    assert "--debug" in err.splitlines()[-1]
    status, _, err = negkernel("grad", *ASK, "--debug")
    assert status == 2
    assert "Traceback" in err
    assert "in broken" in err
