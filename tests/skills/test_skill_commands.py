"""`negkernel probe` and `negkernel data report` on a small task of our own."""

import pandas as pd
import pytest
from feature_models import reader
from skill_features import write_agnews

from neurgrad.cli import main


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    engine = reader()
    engine.model.save_pretrained(folder)
    engine.tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return str(write_agnews(tmp_path_factory.mktemp("data")))


def test_probe_writes_tables_and_a_page(model, root, tmp_path, capsys):
    out = tmp_path / "out"
    asked = ["probe", "--task", "agnews", "--model", model, "--root", root, "--output", str(out)]
    assert main([*asked, "--limit", "12", "--labels", "A,B,C,D", "table3", "fig6"]) == 0
    assert "Test accuracy" in capsys.readouterr().out
    table = pd.read_csv(out / "table3.csv")
    assert set(table["splits"]) == {"clean", "published"}
    assert (out / "fig6.png").exists()
    assert "table3" in (out / "index.html").read_text()
    before = {path: path.stat().st_mtime_ns for path in out.rglob("prompts-*.safetensors")}
    assert before
    assert main([*asked, "--limit", "12", "--labels", "A,B,C,D"]) == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    # The task's own labels make other prompts: these features are not theirs.
    assert main([*asked, "--limit", "12"]) == 2
    assert "holds features with prompts" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--task", "agnew"], "did you mean 'agnews'"),
        (["--task", "agnews", "table1"], "'table1' is not an artefact"),
        (["--task", "agnews", "--labels", "A,B"], "agnews needs 4 labels"),
        (["--task", "agnews", "--shots", "-2"], "expected 0 or more, or -1"),
    ],
)
def test_bad_options_end_in_one_line(model, root, arguments, said, capsys):
    assert main(["probe", "--model", model, "--root", root, *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_data_report_shows_the_leak(root, tmp_path, capsys):
    path = tmp_path / "report.csv"
    asked = ["data", "report", "--task", "agnews", "--root", root, "--output", str(path)]
    assert main(asked) == 0
    assert "published" in capsys.readouterr().out
    shared = pd.read_csv(path).set_index("scheme")["record_test_in_train"]
    assert shared["published"] == 8
    assert shared["clean"] == 0
