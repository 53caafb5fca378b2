"""A file of prompts that the embedded model knows, and a way to run commands in this process."""

from collections.abc import Callable
from pathlib import Path

import pytest

from neurgrad import demo
from neurgrad.cli import main

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="session")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("facts") / "facts.csv"
    demo.prompts("causal").sample(200, random_state=0)[["prompt", "answer"]].to_csv(
        path, index=False
    )
    return path


@pytest.fixture
def negkernel(capfd: pytest.CaptureFixture[str]) -> Command:
    """Run a command line here; exit status, stdout, stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        capfd.readouterr()
        status = main([str(argument) for argument in arguments])
        return status, *capfd.readouterr()

    return run
