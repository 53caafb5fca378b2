"""`negkernel probe` and `negkernel data report` on a small task of our own."""

import pandas as pd
import pytest
from feature_models import reader
from skill_features import write_agnews

from neurgrad.analysis import skills
from neurgrad.analysis.reproduce import ARTEFACTS as OF_PROMPTS
from neurgrad.cli import main
from neurgrad.cli.reading import artefacts


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
    assert "Accuracy of probes and baselines" in capsys.readouterr().out
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
    assert "it differs in prompts" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--task", "agnew"], "did you mean 'agnews'"),
        (["--task", "agnews", "table33"], "did you mean 'table3'"),
        ([], "--task: missing: expected all or some of agnews"),
        (["--task", "agnews", "--light", "fig9"], "'fig9' needs kept features"),
        (["--task", "agnews", "--limit", "5"], "expected at least 6"),
        (["--task", "agnews", "--labels", "A,B"], "agnews needs 4 labels"),
        (["--task", "agnews", "--shots", "-2"], "expected 0 or more, or -1"),
    ],
)
def test_bad_options_end_in_one_line(model, root, arguments, said, capsys):
    assert main(["probe", "--model", model, "--root", root, *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_light_keeps_nothing_but_the_tables(model, root, tmp_path):
    asked = ["--task", "agnews", "--model", model, "--root", root, "--labels", "A,B,C,D"]
    tables = {}
    for name, options in (("kept", []), ("light", ["--light"])):
        out = tmp_path / name
        assert main(["probe", *asked, "--limit", "12", "--output", str(out), *options]) == 0
        tables[name] = pd.read_csv(out / "table3.csv").set_index(["splits", "probe"])
    assert not (tmp_path / "light" / "features").exists()
    assert set(tables["light"].index.get_level_values("probe")) == {
        "Rand",
        "LM-Prob",
        "Polar",
        "Magn",
    }
    pd.testing.assert_frame_equal(tables["light"], tables["kept"].loc[tables["light"].index])


def test_reproduce_serves_the_artefacts_of_tasks(model, root, tmp_path, capsys):
    asked = ["--task", "agnews", "--model", model, "--root", root, "--labels", "A,B,C,D"]
    out = tmp_path / "out"
    command = ["reproduce", "fig15", *asked, "--limit", "12", "--output", str(out)]
    assert main(command) == 0
    assert {"fig15.csv", "fig15.png", "index.html"} <= {path.name for path in out.iterdir()}
    capsys.readouterr()
    for names, said in (
        (["tabel3"], "did you mean 'table3'"),
        (["table1", "table3"], "table1 is of prompts and table3 of tasks"),
        (["table1"], "table1 is of prompts and --task of tasks"),
    ):
        assert main(["reproduce", *names, *asked]) == 2
        assert said in capsys.readouterr().err
    assert main(["reproduce", "table1", "--model", "demo", "--light"]) == 2
    assert "--light: is for artefacts of tasks" in capsys.readouterr().err


def test_the_names_in_the_help_are_those_that_exist():
    assert tuple(skills.ARTEFACTS) == artefacts.OF_TASKS
    assert set(artefacts.OF_PROMPTS) == {
        *OF_PROMPTS,
        *(other for one in OF_PROMPTS.values() for other in one.also),
    }


def test_data_report_shows_the_leak(root, tmp_path, capsys):
    path = tmp_path / "report.csv"
    asked = ["data", "report", "--task", "agnews", "--root", root, "--output", str(path)]
    assert main(asked) == 0
    assert "published" in capsys.readouterr().out
    shared = pd.read_csv(path).set_index("scheme")["record_test_in_train"]
    assert shared["published"] == 8
    assert shared["clean"] == 0
