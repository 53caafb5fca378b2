"""Loading: what comes out of the files, which rows are treated how, and what is refused."""

import json
import subprocess
import sys
import types
from pathlib import Path

import pytest

from neurgrad import mceval8k
from neurgrad.mceval8k import TASKS, find, load

pytestmark = pytest.mark.filterwarnings("ignore:task '(imdb|chunking)' lacks:UserWarning")


def test_table_holds_22_tasks_in_six_genres():
    assert len(TASKS) == 22
    assert len({task.genre for task in TASKS.values()}) == 6
    assert len({task.paper for task in TASKS.values()}) == 22


@pytest.mark.parametrize("name", TASKS)
def test_published_splits_are_the_files_in_order(root: Path, name: str):
    data = load(name, "published", root)
    folder = root / data.task.genre / data.task.folder
    for split in ("train", "valid", "test"):
        if (file := folder / f"{split}.json").exists() and name != "clang8":
            assert [dict(r.fields) for r in getattr(data, split)] == json.loads(file.read_text())
    for record in data.test:
        assert data.task.classes[record.label] == record.fields[data.task.label_field]


def test_folder_may_be_named_by_the_environment(root: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NEGKERNEL_MCEVAL8K", str(root))
    assert load("paws").train[0] == load("paws", root=root).train[0]


def test_float_labels_become_integers(root: Path):
    data = load("amazon-reviews", root=root)
    assert {type(record.fields["label"]) for record in data.train} == {int}
    assert data.counts["label made an integer"] == 120 + 20 + 20


def test_joined_sentences_are_put_apart(root: Path):
    data = load("clang8", "published", root)
    mended = {r.fields["sentence1"]: r for r in data.train if "go" in r.fields["sentence1"]}
    assert dict(mended["he goes ."].fields) == {
        "sentence1": "he goes .",
        "sentence2": "he go .",
        "acceptable": 0,
    }
    assert data.counts == {"sentences put apart": 2}
    assert "right ." in {r.fields["sentence1"] for r in data.train}


def test_unusable_rows_leave_clean_splits_and_are_counted(root: Path):
    def everything(name: str) -> tuple[dict[str, int], list[str]]:
        data = load(name, root=root)
        records = [*data.train, *data.valid, *data.test]
        return dict(data.counts), [str(dict(record.fields)) for record in records]

    counts, texts = everything("clang8")
    assert counts["damaged text"] == 1
    assert not any("more" in text for text in texts)
    counts, texts = everything("fever")
    assert counts["conflicting labels"] == 2
    assert not any("two labels" in text for text in texts)
    counts, texts = everything("commonsenseqa")
    assert (counts["gold option repeated"], counts["wrong option repeated"]) == (1, 1)
    assert not any("gold twice" in text for text in texts)
    assert any("wrong twice" in text for text in texts)
    assert counts["duplicate"] == 20 + 20  # the held-out rows


def test_labels_count_from_zero_whatever_the_file_says(root: Path):
    assert {record.label for record in load("amazon-review-multi", root=root).train} == set(
        range(5)
    )
    lti = TASKS["lti"]
    assert [lti.classes.index(lang) for lang in ("en", "fr", "de", "zh", "es")] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("asked", "name"),
    [("GED", "clang8"), ("commensenseqa", "commonsenseqa"), ("M-Amazon", "amazon-review-multi")],
)
def test_paper_and_folder_names_are_known(asked: str, name: str):
    assert find(asked).name == name


def test_unknown_task_suggests_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'paws'"):
        load("pawz")


def test_unknown_scheme(root: Path):
    with pytest.raises(ValueError, match="expected 'clean' or 'published'"):
        load("paws", "honest", root)


@pytest.mark.filterwarnings("default")
def test_missing_files_are_named_and_the_rest_is_used(root: Path):
    with pytest.warns(UserWarning, match=r"imdb.train\.json"):
        clean = load("imdb", root=root)
    assert [len(clean.train), len(clean.valid), len(clean.test)] == [6, 1, 1]
    assert [Path(path).name for path in clean.missing] == ["train.json"]
    with pytest.warns(UserWarning, match="going on with the 2 files"):
        published = load("imdb", "published", root)
    assert (len(published.train), len(published.test)) == (0, 8)


def test_no_files_at_all(tmp_path: Path):
    with pytest.raises(ValueError, match=r"expected train\.json, valid\.json and test\.json"):
        load("paws", root=tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[{", "not valid JSON"),
        ('{"sentence1": "a"}', "expected a JSON array"),
        ("[1]", "expected a record, got int"),
        ('[{"sentence1": "a", "label": 0}]', "field 'sentence2' is missing"),
        ('[{"sentence1": "a", "sentence2": "b", "label": 7}]', "label is 7; expected one of"),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, text: str, message: str):
    folder = tmp_path / "nli" / "paws"
    folder.mkdir(parents=True)
    for split in ("train", "valid", "test"):
        (folder / f"{split}.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        load("paws", root=tmp_path)


def test_hub_is_asked_when_no_folder_is_named(root: Path, monkeypatch: pytest.MonkeyPatch):
    class Hub(list):
        to_list = list.copy

    def load_dataset(path: str, name: str) -> dict[str, Hub]:
        assert (path, name) == (mceval8k.HUB, "paws")
        names = {"train": "train", "validation": "valid", "test": "test"}
        folder = root / "nli" / "paws"
        return {k: Hub(json.loads((folder / f"{v}.json").read_text())) for k, v in names.items()}

    monkeypatch.delenv("NEGKERNEL_MCEVAL8K", raising=False)
    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load_dataset))
    assert list(load("paws").test) == list(load("paws", root=root).test)
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ValueError, match="pip install datasets"):
        load("paws")


def test_package_starts_without_torch():
    # the parent package is stubbed: what it imports is not this package's doing
    code = (
        "import sys, types; p = types.ModuleType('neurgrad'); p.__path__ = [sys.argv[1]]; "
        "sys.modules['neurgrad'] = p; import neurgrad.mceval8k; "
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    package = Path(mceval8k.__file__).parents[1]
    subprocess.run([sys.executable, "-c", code, str(package)], check=True)
