"""Tasks of one's own: the option rules, balance, and the way back through a folder."""

from collections import Counter
from pathlib import Path

import pytest

from neurgrad.mceval8k import (
    FrequencyOptions,
    GivenOptions,
    Task,
    YearOptions,
    cloze,
    construct,
    listed,
    load,
    overlaps,
    plain,
    prompts,
    save,
)
from neurgrad.mceval8k.draw import unit, weighted_sample

ABCD = ("a", "b", "c", "d")
CAPITALS = Task(
    "capitals",
    "fact",
    ABCD,
    (cloze("Question", "text"), listed("Options", "options")),
    instruction="Which city is meant?",
)
YEARS = Task("years", "fact", ABCD, (plain("Question", "text"), listed("Options", "options")))


def facts(n: int) -> list[dict[str, object]]:
    """Return facts of two relations; the city Lyon answers half of the first."""
    cities = ["Lyon"] * 6 + ["Paris", "Nice", "Brest", "Lille", "Metz", "Nantes"]
    trades = ["smith", "baker", "nurse", "judge", "cook"]
    rows: list[dict[str, object]] = []
    for i in range(n):
        town = i % 2 == 0
        answer = cities[i // 2 % 12] if town else trades[i // 2 % 5]
        known = [answer, "Nice"] if town and answer == "Paris" else [answer]
        rows.append(
            {"text": f"fact {i} is [Y].", "is": answer, "rel": "town" if town else "trade"}
            | {"all": known}
        )
    return rows


def test_wrong_options_are_of_the_same_relation_and_never_right():
    data = construct(
        CAPITALS, facts(400), FrequencyOptions("is", pool="rel", known="all"), size=None
    )
    rows = {str(row["text"]): row for row in facts(400)}
    drawn: Counter[str] = Counter()
    for record in [*data.train, *data.valid, *data.test]:
        row, options = rows[record.fields["text"]], list(record.fields["options"])
        assert options[record.label] == row["is"]
        wrong = set(options) - {row["is"]}
        assert len(wrong) == 3
        assert not wrong & set(row["all"])
        same = {r["is"] for r in rows.values() if r["rel"] == row["rel"]}
        assert wrong <= same
        drawn.update(wrong)
    assert not any(overlaps(data).values())
    # Lyon is a wrong option whenever it is not the right one, far more often than a rare town
    assert drawn["Lyon"] > drawn["Metz"]
    assert set(record.fields) == {"text", "options", "label"}


def test_weighted_sample_follows_the_weights():
    weights = {"a": 5.0, "b": 3.0, "c": 2.0}
    first = Counter(weighted_sample(weights, 1, i)[0] for i in range(4000))
    for name, weight in weights.items():
        # three standard deviations of a frequency over 4,000 draws
        assert first[name] / 4000 == pytest.approx(weight / 10, abs=3 * 0.5 / 4000**0.5)
    # without replacement: P(a, then b) = 5/10 * 3/5
    pairs = Counter(tuple(weighted_sample(weights, 2, i)) for i in range(4000))
    assert pairs["a", "b"] / 4000 == pytest.approx(0.3, abs=3 * 0.5 / 4000**0.5)


def test_draws_do_not_move():
    assert [round(unit("x", i), 6) for i in range(2)] == [0.274149, 0.372254]


def test_too_few_wrong_options():
    rows = [{"text": f"t{i}", "is": "one" if i % 2 else "two"} for i in range(20)]
    with pytest.raises(ValueError, match="3 different wrong options are needed and only 1"):
        construct(CAPITALS, rows, FrequencyOptions("is"))
    with pytest.raises(ValueError, match="has 4 labels, the rule makes 3 options"):
        construct(CAPITALS, facts(20), FrequencyOptions("is", k=3))


def test_years_are_right_or_wrong_as_the_span_says():
    rows = [{"text": f"term {i}", "held": list(range(2010, 2011 + i % 11))} for i in range(110)]
    data = construct(YEARS, rows, YearOptions("held", (2010, 2020)), size=None)
    held = {row["text"]: row["held"] for row in rows}
    seen: set[int] = set()
    for record in [*data.train, *data.valid, *data.test]:
        years = [int(year) for year in record.fields["options"]]
        true = held[record.fields["text"]]
        assert [year in true for year in years] == [k == record.label for k in range(4)]
        seen |= set(years)
    # a term that fills the span leaves only earlier years
    assert min(seen) == 2007
    assert max(seen) == 2020
    with pytest.raises(ValueError, match="expected the right years"):
        construct(YEARS, [{"text": "never", "held": []}], YearOptions("held", (2010, 2020)))


def test_pairs_of_sentences():
    task = Task(
        "typos",
        "linguistic",
        ("a", "b"),
        (listed("Sentences", "first", "second"),),
        text=("first", "second"),
        instruction="Which is right?",
    )
    rows = [{"good": f"good {i}", "bad": f"bad {i}"} for i in range(80)]
    data = construct(task, rows, GivenOptions("good", "bad"))
    assert Counter(data.train.labels) == {0: 30, 1: 30}
    for record in data.train:
        assert record.fields[task.text[record.label]].startswith("good")
    asked = prompts(data, shots=2).test[0]
    assert asked.prefix.startswith("### Instruction: Which is right?\n\n### Sentences:\na.")


def test_classes_come_out_even_in_every_language_and_translations_stay_together():
    task = Task(
        "sayings",
        "multilingual",
        ("a", "b"),
        (plain("Text", "text"), listed("Options", "options")),
        ids=("saying",),
        languages=("en", "fr"),
        instruction={"en": "Which is meant?", "fr": "Que veut-on dire ?"},
    )
    rows = [
        {"text": f"{lang} {i}", "saying": i, "lang": lang, "right": "x", "wrong": ["y"]}
        for i in range(64)
        for lang in ("en", "fr")
    ]
    data = construct(task, rows, GivenOptions("right", "wrong"), size=96)
    records = [*data.train, *data.valid, *data.test]
    assert len(records) == 96
    assert set(Counter((r.lang, r.label) for r in records).values()) == {24}
    assert set(Counter((r.fields["saying"], r.label) for r in records).values()) == {2}
    assert not any(overlaps(data).values())
    asked = {prompt.language: prompt.text for prompt in prompts(data).test}
    assert asked["fr"].startswith("### Instruction: Que veut-on dire ?\n\n### Texte:fr ")


def test_rows_with_labels_need_no_rule():
    task = Task("coins", "fact", ("no", "yes"), (plain("Text", "text"),), instruction="Heads?")
    rows = [{"text": f"coin {i}", "label": int(i % 4 == 0), "note": i} for i in range(400)]
    data = construct(task, rows, size=160)
    assert Counter(data.train.labels + data.valid.labels + data.test.labels) == {0: 80, 1: 80}
    with pytest.raises(ValueError, match="has no field 'label'"):
        construct(task, [{"text": "coin"}])


def test_saved_data_load_again(tmp_path: Path):
    data = construct(
        CAPITALS, facts(80), FrequencyOptions("is", pool="rel", known="all"), size=None
    )
    save(data, tmp_path)
    again = load(CAPITALS, "published", tmp_path)
    assert list(again.test) == list(data.test)
    assert list(again.train) == list(data.train)


def test_task_without_instruction_says_so():
    rows = [{"text": f"t{i}", "held": [2010 + i % 5]} for i in range(80)]
    data = construct(YEARS, rows, YearOptions("held", (2010, 2020)), size=None)
    with pytest.raises(ValueError, match="there is no instruction 'en' for task 'years'"):
        prompts(data)


def test_task_with_bad_labels():
    with pytest.raises(ValueError, match="two or more different labels"):
        Task("one", "fact", ("a",), ())
    with pytest.raises(ValueError, match="one value of the label field per label"):
        Task("two", "fact", ("a", "b"), (), classes=(1, 2, 3))
