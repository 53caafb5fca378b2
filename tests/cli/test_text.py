"""Text of users is read as it stands, shown as it stands, and acts nowhere."""

import dataclasses
import json
import random
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from neurgrad import demo
from neurgrad.cli.reading.prompt_files import read_prompts
from neurgrad.cli.showing import report
from neurgrad.cli.showing.terminal import plain

NAUGHTY = [
    "[INST] The capital of France is",
    "[/bold] The capital of France is",
    "[red]The capital of France is",
    ":smile: The capital of France is",
    "The capital\x1b[2J\x1b]0;title\x07 of France is",
    "The capital of \u202eFrance is",
    "The capital of\u2028France is",
    "The capital of\nFrance\tis",
    "Die Hauptstadt \u2014 \U0001f1eb\U0001f1f7 \u0939\u093f\u0928\u094d\u0926\u0940 is",
]


@pytest.mark.parametrize("prompt", NAUGHTY)
@pytest.mark.parametrize("command", ["sweep", "grad"])
def test_prompts_are_shown_and_do_nothing(negkernel, command: str, prompt: str):
    shifts = ("--shifts", "-1:1:1") if command == "sweep" else ()
    status, out, err = negkernel(
        command, "-m", "demo", "-p", prompt, "-t", "Paris", "--neurons", "0:1", *shifts
    )
    assert status == 0, err
    assert plain(prompt) in out
    assert not {"\x1b", "\x07", "\u202e", "\u2028"} & {*out, *err}


def test_plain_leaves_scripts_and_emoji_alone():
    text = NAUGHTY[-1] + " \u0646\u0627\u0645\u0647\u200c\u0627\u06cc caf\u00e9\u00a0[x]"
    assert plain(text) == text
    assert plain("\x1b[31m\r\n\x9b\ud800") == r"\x1b[31m\r\n\x9b\ud800"


@pytest.mark.parametrize("name", ["[INST]", "[bold]", ":smile:", "a\x1b[31mb"])
def test_paths_are_shown_and_do_nothing(negkernel, tmp_path: Path, name: str):
    (tmp_path / name).mkdir()
    output, ask = tmp_path / name / "out.csv", ("-m", "demo", "-p", "The capital of France is")
    status, out, err = negkernel("grad", *ask, "-t", "Paris", "--neurons", "0:1", "-o", output)
    assert (status, plain(output) in out) == (0, True), err
    assert "\x1b" not in out + err
    status, _, err = negkernel("grad", *ask, "-t", "Paris", "-m", tmp_path / name)
    assert (status, err.count("\n"), "\x1b" in err) == (2, 1, False)


TRICKY = (["The capital\u2028of", "a\u0085b", 'say "x", he'], ["Paris", "\u00e9t\u00e9", "=1"])


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_line_separators_and_byte_order_marks_are_no_line_ends(tmp_path: Path, mark: str, end: str):
    lines = [
        json.dumps({"prompt": prompt, "answer": answer}, ensure_ascii=False)
        for prompt, answer in zip(*TRICKY, strict=True)
    ]
    path = tmp_path / "x.jsonl"
    path.write_bytes((mark + end.join([*lines, ""])).encode())
    assert read_prompts(path) == TRICKY
    path = tmp_path / "x.csv"
    frame = pd.DataFrame(dict(zip(("prompt", "answer"), TRICKY, strict=True)))
    path.write_bytes((mark + frame.to_csv(index=False, lineterminator=end)).encode())
    assert read_prompts(path) == TRICKY


@pytest.mark.parametrize("suffix", [".feather", ".parquet"])
def test_a_column_that_is_there_twice_is_refused(tmp_path: Path, suffix: str):
    import pyarrow as pa
    import pyarrow.feather
    import pyarrow.parquet

    table = pa.table([["x"], ["a"], ["b"]], names=["prompt", "answer", "answer"])
    path = tmp_path / f"twice{suffix}"
    if suffix == ".feather":
        pyarrow.feather.write_feather(table, str(path))
    else:
        pyarrow.parquet.write_table(table, path)
    with pytest.raises(ValueError, match="2 times the column 'answer'"):
        read_prompts(path)


@pytest.mark.parametrize("suffix", [".feather", ".parquet"])
def test_a_damaged_file_is_refused_or_harmless(tmp_path: Path, suffix: str):
    frame = pd.DataFrame({"prompt": [f"number {i} is" for i in range(50)], "answer": ["x"] * 50})
    path = tmp_path / f"prompts{suffix}"
    getattr(frame, f"to_{suffix[1:]}")(path)
    good, draw = path.read_bytes(), random.Random(0)
    refusals = 0
    for _ in range(12):
        bad = bytearray(good)
        bad[draw.randrange(len(bad))] ^= 1 << draw.randrange(8)
        path.write_bytes(bytes(bad))
        try:
            prompts, _ = read_prompts(path)
        except ValueError as error:
            refusals += "\n" not in str(error)
        else:
            assert len(prompts) == 50
    assert refusals


def test_a_file_that_crashes_its_reader_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from neurgrad.cli.reading import columnar

    path = tmp_path / "x.feather"
    path.touch()
    killer = tmp_path / "python"
    killer.write_text("#!/bin/sh\nkill -6 $$\n")
    killer.chmod(0o755)
    monkeypatch.setattr(columnar.sys, "executable", str(killer))
    with pytest.raises(ValueError, match="damaged, and reading it crashes"):
        read_prompts(path)
    killer.write_text("#!/bin/sh\nexec sleep 60\n")
    monkeypatch.setattr(columnar, "SECONDS", 0.2)
    with pytest.raises(ValueError, match=r"within 0\.2 s"):
        read_prompts(path)


@pytest.mark.parametrize("start", ["=1+1 ", "+1 ", "-1 ", "@x ", "\tx "])
def test_formulas_do_not_run_in_a_spreadsheet(negkernel, tmp_path: Path, start: str):
    prompt = f"{start}The capital of France is"
    ask = ("grad", "-m", "demo", f"--prompt={prompt}", "-t", "Paris", "--neurons", "0:1,0:2")
    status, _, err = negkernel(*ask, "-o", tmp_path / "out.csv")
    assert (status, "2 cells begin like a formula" in err) == (0, True)
    found = pd.read_csv(tmp_path / "out.csv")
    assert found["prompt"].tolist() == [f"'{prompt}"] * 2
    assert found["cg"].dtype == float
    assert negkernel(*ask, "-o", tmp_path / "out.parquet")[0] == 0
    assert pd.read_parquet(tmp_path / "out.parquet")["prompt"].tolist() == [prompt] * 2


def test_what_is_no_number_is_not_reported_as_one():
    sweep = demo.load().sweep(
        ["The capital of France is"], ["Paris"], [[0, 1], [1, 2], [2, 3]], [-1.0, 1.0]
    )
    none = dataclasses.replace(sweep, logprob_shift=np.full_like(sweep.logprob_shift, np.nan))
    assert "%" not in report._summary(none)
    assert "none is a number" in report._summary(none)
    assert not none.polarity().any()
    shifts = sweep.logprob_shift.copy()
    shifts[0, 1] = np.nan
    assert "of the 2 that are numbers" in report._summary(
        dataclasses.replace(sweep, logprob_shift=shifts)
    )
