"""The libraries themselves take part in `bench peers`, and agree with float64."""

import csv

import pytest
from typer import Typer
from typer.testing import CliRunner

from bench import __main__ as command

pytest.importorskip("nnsight", reason="it is installed by `make peers`")
app = Typer()
app.command()(command.main)


def test_every_library_takes_part(tmp_path):
    path = tmp_path / "peers.csv"
    call = ["peers", "--quick", "--threads", "1", "--output", str(path)]
    result = CliRunner().invoke(app, call)
    assert result.exit_code == 0, result.output
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    absent = {row["contestant"] for row in rows if not row["cpu_s"]}
    assert absent == {"TransformerLens 3, start_at_layer + frozen KV"}
    assert all(row["note"] for row in rows if row["contestant"] in absent)
    assert all(float(row["ratio"]) > 0 for row in rows if row["contestant"] not in absent)
