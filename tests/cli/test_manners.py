"""How commands speak: at once, in whole tables, as much as was asked, and for programs."""

import io
import json
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from negkernel import Engine
from neurgrad.cli.showing import progress as shown
from neurgrad.cli.showing.messages import messages

ASK = ("-m", "demo", "-p", "The capital of France is", "-t", "Paris", "--neurons", "0:1")
SWEEP = ("sweep", *ASK, "--shifts", "-1:1:1")


def test_help_is_short_too_and_bare_commands_show_it(negkernel):
    assert "Usage" in negkernel("-h")[1]
    assert "--shifts" in negkernel("sweep", "-h")[1]
    status, out, err = negkernel()
    assert (status, err) == (0, "")
    assert "Usage" in out
    assert negkernel("data")[2] == ""


def test_what_is_done_is_said_before_it_is_done():
    command = [sys.executable, "-m", "neurgrad.cli", *SWEEP]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        assert process.stderr is not None
        first = b""
        began = time.monotonic()
        while b"..." not in first:
            first += process.stderr.read(1)
        assert first == b"negkernel: loading demo ..."
        said = time.monotonic() - began
        process.stderr.read()
    assert said < time.monotonic() - began - said, "before most of the work"


def test_quiet_verbose_and_between(negkernel):
    assert negkernel(*SWEEP, "-q")[2] == ""
    _, out, err = negkernel(*SWEEP)
    assert "1 prompt x 2 rows" in err
    assert "1 curve from 2 rows" in out
    assert "known family" not in err
    assert "known family" in negkernel(*SWEEP, "--verbose")[2]
    assert "1 prompt, gradients" in negkernel("grad", *ASK)[2]


@pytest.mark.parametrize("command", [SWEEP, ("grad", *ASK), ("demo", "--model", "masked")])
def test_tables_fit_80_columns_and_cut_nothing(
    negkernel, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
):
    monkeypatch.setenv("COLUMNS", "80")
    status, out, _ = negkernel(*command)
    assert status == 0
    assert "\N{HORIZONTAL ELLIPSIS}" not in out
    tables = [line for line in out.splitlines() if "->" not in line and "negkernel" not in line]
    assert max(map(len, tables)) <= 80
    for head in ("layer", "neuron", "activation", "p/unit"):
        assert head in out


@pytest.mark.parametrize(
    ("command", "keys"),
    [
        (SWEEP, {"kind", "model", "axis", "rows", "neurons"}),
        (("grad", *ASK), {"kind", "model", "site", "neurons"}),
        (("grad", *ASK, "--dry-run"), {"plan"}),
        (("info",), {"versions", "devices", "kernels"}),
        (("info", "-m", "demo"), {"model", "architecture", "method auto"}),
        (("demo", "--model", "causal"), {"causal"}),
    ],
)
def test_json_is_all_that_stdout_gets(negkernel, command: tuple[str, ...], keys: set[str]):
    status, out, _ = negkernel(*command, "--json")
    assert status == 0
    found = json.loads(out)
    assert keys <= found.keys()
    assert found["negkernel"]


def test_stdin_and_stdout(negkernel, monkeypatch: pytest.MonkeyPatch):
    table = "prompt,answer\nThe capital of France is,Paris\n"
    lines = '{"prompt": "The capital of France is", "answer": "Paris"}\n'
    for text in (table, lines):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        status, out, _ = negkernel("grad", "-m", "demo", "--prompts", "-", "-o", "-")
        assert status == 0
        found = pd.read_csv(io.StringIO(out))
        assert (len(found), set(found["target"])) == (16, {"Paris"})
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    status, _, err = negkernel("grad", "-m", "demo", "--prompts", "-")
    assert (status, err.count("\n")) == (2, 1)


def test_ctrl_c_while_loading_says_so(negkernel, monkeypatch: pytest.MonkeyPatch):
    def interrupted(*given: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Engine, "from_pretrained", interrupted)
    status, out, err = negkernel(*SWEEP)
    assert (status, out) == (130, "")
    assert err.endswith("stopped while loading demo\n")


def test_a_closed_pipe_is_no_error(tmp_path: Path):
    command = f"{sys.executable} -m neurgrad.cli demo --help | true"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_a_file_gets_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(shown, "SECONDS", 0.05)
    with messages(), shown.progress(1000, 100, "rows") as advance:
        advance(400)
        time.sleep(0.3)
    lines = capsys.readouterr().err.splitlines()
    assert 2 <= len(lines) <= 6
    assert all(line.startswith("negkernel: 500 of 1,000 rows") for line in lines)
    with messages(quiet=True), shown.progress(1000, 0, "rows") as advance:
        advance(1000)
        time.sleep(0.1)
    assert capsys.readouterr().err == ""
