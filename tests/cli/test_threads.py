"""The command line lets waiting threads sleep; a program's own environment stays as it is."""

import os
import subprocess
import sys

import pytest

ASK = (
    "import os, sys{}; from neurgrad.cli import main; main(['--version']); "
    "print(os.environ.get('OMP_WAIT_POLICY'))"
)


@pytest.mark.parametrize(
    ("also", "given", "policy"),
    [
        ("", {}, "passive"),
        ("", {"OMP_WAIT_POLICY": "active"}, "active"),
        ("", {"GOMP_SPINCOUNT": "7"}, "None"),
        (", torch", {}, "None"),
    ],
)
def test_it_waits_as_it_is_told(also: str, given: dict[str, str], policy: str):
    unset = {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}
    kept = {name: value for name, value in os.environ.items() if name not in unset}
    call = [sys.executable, "-c", ASK.format(also)]
    out = subprocess.run(call, env=kept | given, capture_output=True, text=True, check=True).stdout
    assert out.split()[-1] == policy
