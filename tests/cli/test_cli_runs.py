"""Runs end with the same bits however often they are interrupted, and leave nothing behind."""

import contextlib
import errno
import multiprocessing
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
    """Of three workers one is killed: no part is computed twice, and the bits are those of one."""
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
        if len(seen) >= 2:
            workers[0].kill()
        time.sleep(0.002)
    assert [worker.exitcode for worker in workers[1:]] == [0, 0]
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
