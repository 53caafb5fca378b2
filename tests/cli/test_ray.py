"""Shards on workers of a Ray cluster: the bits of one process, also where a worker is killed."""

import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest
import torch

from negkernel import Gradients
from neurgrad.cli import main

GIVEN = ("grad", "--model", "demo", "--prompts")

ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="ray is not installed (negkernel[ray])"
)


def workers(driver: psutil.Process) -> list[psutil.Process]:
    """Processes of the cluster that hold the model."""
    return [p for p in driver.children(recursive=True) if "Worker" in p.name()]


@pytest.fixture
def some(facts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("some") / "some.csv"
    pd.read_csv(facts).head(96).to_csv(path, index=False)
    return path


@ray
@pytest.mark.slow
def test_a_local_cluster_of_two_of_which_one_is_killed(some: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    whole, output = tmp_path / "whole.safetensors", tmp_path / "shared.safetensors"
    command = [sys.executable, "-m", "neurgrad.cli", *GIVEN, str(some)]
    driver = subprocess.Popen(
        [*command, "--output", str(output), "--ray", "local"], stderr=subprocess.PIPE, text=True
    )
    folder = tmp_path / "shared.safetensors.run"
    while driver.poll() is None and not list(folder.glob("prompts-*.json")):
        time.sleep(0.01)
    there = workers(psutil.Process(driver.pid))
    assert len(there) == min(2, os.cpu_count() or 1)
    there[0].kill()
    _, err = driver.communicate(timeout=200)
    assert driver.returncode == 0, err
    assert "died at prompts-" in err
    assert "Traceback" not in err
    assert main([*GIVEN, str(some), "--output", str(whole)]) == 0  # with one thread, too
    assert output.read_bytes() == whole.read_bytes()
    assert Gradients.load(output).prompts == pd.read_csv(some)["prompt"].tolist()
    assert {path.name for path in tmp_path.iterdir()} == {whole.name, output.name}


@ray
def test_a_cluster_that_is_not_there_is_refused_in_one_line(facts: Path, capfd):
    status = main([*GIVEN, str(facts), "--ray", "127.0.0.1:1"])
    err = capfd.readouterr().err
    assert status == 2
    assert "--ray" in err.splitlines()[-1]
    assert "127.0.0.1:1" in err.splitlines()[-1]


def test_ray_that_is_not_installed_is_named_with_its_extra(facts: Path, negkernel, monkeypatch):
    find = importlib.util.find_spec

    def without(name: str, *more: str):
        return None if name == "ray" else find(name, *more)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    status, out, err = negkernel(*GIVEN, facts, "--ray", "local")
    assert (status, out) == (2, "")
    assert "pip install 'negkernel[ray]'" in err
