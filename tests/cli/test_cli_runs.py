"""Runs end with the same bits however often they are interrupted, and leave nothing behind."""

import contextlib
import errno
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from negkernel import Sweep
from neurgrad.cli import main

SMALL = ("--neurons", "top:3", "--shifts", "-2:2:0.5")


def ask(facts: Path, output: Path, *more: str) -> list[str]:
    start = ["sweep", "--model", "demo", "--prompts", str(facts), "--output", str(output)]
    return [*start, *SMALL, *more]


def assert_same_bits(one: Sweep, other: Sweep) -> None:
    for field in fields(Sweep):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if isinstance(a, np.ndarray):
            assert a.dtype == b.dtype
            assert a.tobytes() == b.tobytes(), field.name
        else:
            assert a == b, field.name


def start(arguments: list[str]) -> multiprocessing.process.BaseProcess:
    """Start a command in a process that has everything imported and nothing computed."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        [
            "neurgrad.cli.running.execute",
            "transformers.models.auto.modeling_auto",
            "transformers.models.auto.tokenization_auto",
            "transformers.models.llama.modeling_llama",
        ]
    )
    process = context.Process(target=main, args=(arguments,))
    process.start()
    return process


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_run_killed_at_any_moment_and_resumed_has_the_same_bits(facts: Path, tmp_path: Path):
    start(ask(facts, tmp_path / "warm.safetensors")).join()
    began = time.perf_counter()
    start(ask(facts, tmp_path / "whole.safetensors")).join()
    took = time.perf_counter() - began
    whole = Sweep.load(tmp_path / "whole.safetensors")
    moments = random.Random(0)
    interrupted = 0
    for attempt in range(20):
        output = tmp_path / f"cut-{attempt}.safetensors"
        process = start(ask(facts, output))
        process.join(moments.uniform(0, took))
        process.kill()
        process.join()
        interrupted += not output.exists()
        start(ask(facts, output, "--resume")).join()
        assert_same_bits(Sweep.load(output), whole)
        output.unlink()
    assert interrupted >= 5
    assert {p.name for p in tmp_path.iterdir()} == {"warm.safetensors", "whole.safetensors"}


@pytest.fixture
def stopped(facts: Path, tmp_path: Path) -> tuple[Path, str]:
    """The output of a run that got Ctrl-C after its first shard, and what it said."""
    output = tmp_path / "out.csv"
    process = subprocess.Popen(
        [sys.executable, "-m", "neurgrad.cli", *ask(facts, output)],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    folder = tmp_path / "out.csv.run"
    while process.poll() is None and not list(folder.glob("prompts-*.json")):
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    if process.returncode == 0:
        pytest.skip("the run was over before Ctrl-C reached it")
    assert process.returncode == 130
    return output, err


def test_ctrl_c_keeps_what_is_finished_and_says_how_to_go_on(stopped, facts: Path, negkernel):
    output, err = stopped
    assert "Traceback" not in err
    command = err.strip().splitlines()[-1].split()
    assert command[0] == "negkernel"
    assert command[-1] == "--resume"
    folder = output.with_name("out.csv.run")
    kept = {path.name: path.stat().st_mtime_ns for path in folder.glob("prompts-*.safetensors")}
    assert kept
    assert not output.exists()

    status, _, err = negkernel(*ask(facts, output))
    assert status == 2, "an unfinished run is not overwritten"
    status, _, err = negkernel(*ask(facts, output, "--seed", "1", "--resume"))
    assert status == 2, "other settings do not go on with it"
    assert "--seed 0, not 1" in err
    assert {p.name: p.stat().st_mtime_ns for p in folder.glob("prompts-*.safetensors")} == kept

    damaged = folder / sorted(kept)[0]
    damaged.write_bytes(damaged.read_bytes()[:-1])
    status, _, err = negkernel(*ask(facts, output, "--resume"))
    assert status == 0, err
    assert "is computed again" in err
    assert len(pd.read_csv(output)) == 200 * 3
    assert not folder.exists()
    status, out, _ = negkernel(*ask(facts, output, "--resume"))
    assert status == 0
    assert "complete" in out


def test_processes_given_the_same_command_share_it(facts: Path, tmp_path: Path):
    """Of three workers two are killed and one comes later: no part is computed twice or lost."""
    start(ask(facts, tmp_path / "whole.safetensors")).join()
    output = tmp_path / "shared.safetensors"
    folder = tmp_path / "shared.safetensors.run"
    workers = [start(ask(facts, output)) for _ in range(3)]
    seen: dict[tuple[int, str], int] = {}
    while any(worker.is_alive() for worker in workers):
        with contextlib.suppress(FileNotFoundError):
            # A worker that comes when all is done and put away begins another run.
            run = (folder / "manifest.json").stat().st_ino
            for path in folder.glob("prompts-*.json"):
                stamp = path.stat().st_mtime_ns
                assert seen.setdefault((run, path.name), stamp) == stamp, "computed twice"
        if len(seen) >= 2 and len(workers) == 3:
            workers[0].kill()
            workers[1].kill()
            workers.append(start(ask(facts, output, "--resume")))
        time.sleep(0.002)
    assert [worker.exitcode for worker in workers[2:]] == [0, 0]
    assert_same_bits(Sweep.load(output), Sweep.load(tmp_path / "whole.safetensors"))
    assert {p.name for p in tmp_path.iterdir()} == {"whole.safetensors", "shared.safetensors"}


def test_a_full_disk_keeps_what_is_finished_and_says_how_to_go_on(
    facts: Path, tmp_path: Path, negkernel, monkeypatch: pytest.MonkeyPatch
):
    output = tmp_path / "facts.safetensors"
    save, saved = Sweep.save, []

    def full(sweep: Sweep, path: Path) -> None:
        if len(saved) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        saved.append(path)
        save(sweep, path)

    with monkeypatch.context() as patch:
        patch.setattr(Sweep, "save", full)
        status, _, err = negkernel(*ask(facts, output))
    assert status == 2
    assert not output.exists()
    last = err.splitlines()[-1]
    for word in ("--output", str(output), "No space left on device", "--resume"):
        assert word in last
    status, _, err = negkernel(*ask(facts, output, "--resume"))
    assert (status, output.exists()) == (0, True)
    assert "going on after" in err


def finished(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("prompts-*.json")}


@pytest.fixture
def rank(monkeypatch: pytest.MonkeyPatch):
    """Make this process one of three that a launcher has started."""

    def become(number: int) -> None:
        monkeypatch.setenv("RANK", str(number))
        monkeypatch.setenv("WORLD_SIZE", "3")

    return become


@pytest.fixture
def few(facts: Path, tmp_path: Path) -> Path:
    path = tmp_path / "few.csv"
    pd.read_csv(facts).head(40).to_csv(path, index=False)
    return path


def test_of_processes_that_were_started_together_a_late_one_begins_nothing_anew(
    few: Path, tmp_path: Path, negkernel, rank
):
    output, folder = tmp_path / "out.csv", tmp_path / "out.csv.run"
    rank(1)
    status, out, err = negkernel(*ask(few, output))
    assert (status, out) == (0, ""), err
    written, kept = output.read_bytes(), finished(folder)
    assert len(kept) > 1
    rank(0)
    status, out, err = negkernel(*ask(few, output))
    assert status == 0, err
    assert "Wrote" in out
    assert finished(folder) == kept
    rank(2)
    status, out, err = negkernel(*ask(few, output, "--seed", "7"))
    assert (status, out) == (2, "")
    assert err.splitlines()[-1].count("--seed 0, not 7") == 1
    status, out, _ = negkernel(*ask(few, output))
    assert (status, out) == (0, "")
    assert sorted(os.listdir(tmp_path)) == ["few.csv", "out.csv"]
    assert output.read_bytes() == written


def test_without_an_output_the_first_of_several_processes_computes_all(few: Path, negkernel, rank):
    given = ("grad", "--model", "demo", "--prompts", few, "--json")
    alone = negkernel(*given)[1]
    rank(1)
    assert negkernel(*given)[:2] == (0, "")
    rank(0)
    status, out, err = negkernel(*given)
    assert (status, out) == (0, alone)
    assert "the first one computes all" in err


@pytest.mark.parametrize("command", ["sweep", "grad"])
def test_parts_without_locks_are_joined(few: Path, tmp_path: Path, negkernel, command: str):
    shifts = SMALL[2:] if command == "sweep" else ()
    given = (command, "--model", "demo", "--prompts", few, "--neurons", "random:5", *shifts)
    assert negkernel(*given, "--output", tmp_path / "whole.csv")[0] == 0
    output = tmp_path / "parts.csv"
    for part in ("1/3", "3/3"):
        status, out, err = negkernel(*given, "--output", output, "--shard", part)
        assert status == 0, err
    assert f"2 of 3 shards are kept in {output}.run" in out
    status, _, err = negkernel("join", output)
    assert status == 2
    assert "1 of 3 shards are not finished, or were altered (number 2)" in err
    assert negkernel(*given, "--output", output, "--shard", "2/3")[0] == 0
    status, out, err = negkernel("join", output)
    assert status == 0, err
    assert f"Wrote {output}" in out
    assert output.read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert not output.with_name("parts.csv.run").exists()


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (("--shard", "4/3", "--output", "x.csv"), "i from 0 to n - 1"),
        (("--shard", "1", "--output", "x.csv"), "expected i/n"),
        (("--shard", "1/0", "--output", "x.csv"), "i from 0 to n - 1"),
        (("--shard", "1/2"), "needs the --output FILE"),
    ],
)
def test_a_part_that_is_none_is_refused(facts: Path, negkernel, given: tuple, reason: str):
    status, out, err = negkernel("grad", "--model", "demo", "--prompts", facts, *given)
    assert (status, out) == (2, "")
    assert "--shard" in err
    assert reason in err


def test_what_is_no_run_is_not_joined(negkernel, tmp_path: Path):
    status, out, err = negkernel("join", tmp_path / "none.csv")
    assert (status, out) == (2, "")
    assert "holds no kept work" in err
