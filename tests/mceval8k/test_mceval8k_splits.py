"""Clean splits: nothing shared, 6:1:1, and the same everywhere."""

import hashlib
import itertools
import json
import os
import random
import subprocess
import sys
import warnings
from collections import Counter
from pathlib import Path

import pytest

from neurgrad.mceval8k import TASKS, Dataset, Record, load, overlaps, report
from neurgrad.mceval8k.record import id_keys, text_keys
from neurgrad.mceval8k.resplit import resplit, tied

pytestmark = pytest.mark.filterwarnings("ignore:task '(imdb|chunking)' lacks:UserWarning")

# of every record of every clean split of the small data set: must not move with Python's version
DIGEST = "dd08b051a13f05c0"


def raw_values(data: Dataset, split: str) -> set[str]:
    """Return every main text and id of a split, read from the fields without the package's keys."""
    names = [*data.task.text, *data.task.ids]
    return {f"{record.fields[name]}" for record in getattr(data, split) for name in names}


def shared_values(data: Dataset) -> int:
    pairs = itertools.combinations(("train", "valid", "test"), 2)
    return sum(len(raw_values(data, a) & raw_values(data, b)) for a, b in pairs)


@pytest.mark.parametrize("name", TASKS)
def test_clean_splits_share_nothing(root: Path, name: str):
    data = load(name, root=root)
    assert shared_values(data) == 0
    assert not any(overlaps(data).values())
    assert min(len(data.train), len(data.valid), len(data.test)) > 0


def test_published_splits_of_the_fixture_leak(root: Path):
    # the check above would pass on an empty comparison; this one shows that it sees a leak
    data = load("paws", "published", root)
    found = overlaps(data)
    assert found["record_test_in_train"] == len(data.test)
    assert found["text_valid_in_test"] == len(data.valid)
    assert shared_values(data) > 0


@pytest.mark.parametrize("name", ["agnews", "ner", "xnli"])
def test_sizes_and_classes_are_six_one_one(root: Path, name: str):
    data = load(name, root=root)
    total = len(data.train) + len(data.valid) + len(data.test)
    largest = max(map(len, tied(data.task, [*data.train, *data.valid, *data.test])))
    assert abs(len(data.valid) - total / 8) <= largest
    assert abs(len(data.test) - total / 8) <= largest
    per_class = Counter(data.train.labels)
    assert max(per_class.values()) - min(per_class.values()) <= 2 * largest


def test_groups_are_the_transitive_closure():
    task = TASKS["xnli"]
    rng = random.Random(0)

    def one(i: int) -> Record:
        words = [f"text {rng.randrange(60)}" for _ in range(2)]
        fields = {"premise": words[0], "hypothesis": words[1], "index": rng.randrange(80)}
        return Record({**fields, "label": 0, "lang": "en"}, 0)

    records = [one(i) for i in range(60)]
    keys = [{*text_keys(task, r), *id_keys(task, r)} for r in records]
    slow = [{i} for i in range(60)]
    for _ in records:
        for i, j in itertools.combinations(range(60), 2):
            if slow[i] is not slow[j] and any(keys[a] & keys[b] for a in slow[i] for b in slow[j]):
                slow[i] |= slow[j]
                for k in slow[i]:
                    slow[k] = slow[i]
    assert {frozenset(group) for group in tied(task, records)} == set(map(frozenset, slow))
    assert len(tied(task, records)) > 1


def test_text_ties_blind_to_case_and_spacing():
    task = TASKS["agnews"]
    records = [Record({"text": t, "label": 0}, 0) for t in ("One  text", "one text ", "another")]
    assert sorted(map(sorted, tied(task, records))) == [[0, 1], [2]]


def test_options_and_targets_do_not_tie(root: Path):
    data = load("ner", root=root)
    records = [*data.train, *data.valid, *data.test]
    assert max(map(len, tied(data.task, records))) == 2


def test_cut_does_not_depend_on_the_order_of_the_records(root: Path):
    data = load("mlama", root=root)
    records = [*data.train, *data.valid, *data.test]
    random.Random(1).shuffle(records)
    again = resplit(data.task, records)
    assert [r.content for r in again["test"]] == [r.content for r in data.test]
    other = resplit(data.task, records, seed=1)
    assert {r.content for r in other["test"]} != {r.content for r in data.test}


def test_prefixes_of_clean_splits_mix_the_classes(root: Path):
    assert set(load("agnews", root=root).train.labels[:16]) == {0, 1, 2, 3}


def digest(root: Path) -> str:
    found = hashlib.sha256()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in TASKS:
            data = load(name, root=root)
            for record in [*data.train, *data.valid, *data.test]:
                found.update(record.content.encode())
    return found.hexdigest()[:16]


def test_cut_is_the_same_on_every_machine(root: Path):
    assert digest(root) == DIGEST


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_cut_is_the_same_for_every_hash_seed(root: Path, hash_seed: str):
    code = (
        "import sys; from neurgrad.mceval8k import load; "
        "print([r.content for n in ('ner', 'xnli') for r in load(n, root=sys.argv[1]).test])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, str(root)],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    )
    here = [r.content for name in ("ner", "xnli") for r in load(name, root=root).test]
    assert ran.stdout.strip() == str(here)


def test_report_shows_both_schemes(root: Path):
    frame = report(root, ["paws", "imdb", "xnli"]).set_index(["task", "scheme"])
    assert len(frame) == 6
    assert frame.loc[("paws", "published"), "record_test_in_train"] == 8
    assert frame.loc[("imdb", "published"), "missing"] == 1
    shared = [column for column in frame if "_in_" in column]
    assert len(shared) == 9
    assert (frame.xs("clean", level="scheme")[shared] == 0).all().all()


def test_report_goes_on_without_a_task(root: Path, tmp_path: Path):
    (tmp_path / "nli").symlink_to(root / "nli")
    with pytest.warns(UserWarning, match="left out of the report.*agnews"):
        frame = report(tmp_path, ["agnews", "paws"])
    assert list(frame["task"]) == ["paws", "paws"]
    with pytest.raises(ValueError, match=r"no task could be read: .*agnews"):
        report(tmp_path, ["agnews"])


@pytest.mark.parametrize("name", TASKS)
def test_published_data_clean(published_root: Path, name: str):
    """On MCEval8K itself: no overlap, 6:1:1, 99 % of the unique records kept."""
    data = load(name, root=published_root)
    assert shared_values(data) == 0
    assert not any(overlaps(data).values())
    sizes = [len(data.train), len(data.valid), len(data.test)]
    folder = published_root / data.task.genre / data.task.folder
    files = [path for path in folder.glob("*.json") if path.stem in ("train", "valid", "test")]
    unique = {json.dumps(row) for path in files for row in json.loads(path.read_text("utf-8"))}
    assert sum(sizes) >= 0.99 * len(unique)
    assert [size / sum(sizes) for size in sizes] == pytest.approx([6 / 8, 1 / 8, 1 / 8], abs=2e-3)


def test_published_data_leaks_as_measured(published_root: Path):
    """The leaks of the published splits, counted once by hand."""
    frame = report(published_root, ["paws", "agnews", "fever", "postag", "swag"])
    frame = frame[frame["scheme"] == "published"].set_index("task")
    assert frame.loc["paws", "record_test_in_train"] == 1000
    assert frame.loc["agnews", "record_valid_in_train"] == 1000
    assert frame.loc["fever", "record_valid_in_test"] == 1000
    assert frame.loc["postag", "text_test_in_train"] == 3
    assert frame.loc["swag", "text_test_in_train"] == 2
