"""`negkernel prompts`: facts put into words, asked, counted and kept."""

import json

import pandas as pd
import pytest

from neurgrad import demo
from neurgrad.cli import main
from neurgrad.facts import facts_of, word
from neurgrad.facts.tables import check_template, default_template


@pytest.fixture(scope="module")
def engine():
    return demo.load("causal")


@pytest.fixture
def facts(tmp_path):
    table = demo.prompts("causal").sample(12, random_state=3)[["prompt", "answer"]]
    table.iloc[0, 1] = "Qatar Qatar"  # several tokens
    table.iloc[1, 1] = table.iloc[2, 1]  # another fact's answer
    path = tmp_path / "facts.csv"
    table.to_csv(path, index=False)
    return path, table


def ask(path, *more):
    return main(["prompts", "--model", "demo", str(path), *more])


def test_known_facts_are_those_that_the_model_ranks_first(engine, facts, tmp_path, capsys):
    path, table = facts
    out = tmp_path / "known.csv"
    assert ask(path, "--output", str(out), "--json") == 0
    counts = json.loads(capsys.readouterr().out)
    able = table[table["answer"] != "Qatar Qatar"]
    first = engine.rank(able["prompt"].tolist(), able["answer"].tolist()) == 0
    known = pd.read_csv(out)
    assert set(zip(known["prompt"], known["answer"], strict=True)) == {
        tuple(row) for row in able[first].itertuples(index=False)
    }
    assert (known["rank"] == 0).all()
    assert counts["asked"] == 12
    assert counts["several"] == 1
    assert counts["unknown"] == len(able) - first.sum()
    assert "'Qatar Qatar' is not one token" in counts["first_problem"]
    # What was written is what the other commands read.
    assert main(["grad", "--model", "demo", "--prompts", str(out), "--quiet"]) == 0


def test_probability_limit_and_seed(facts, tmp_path):
    path, _ = facts
    out = tmp_path / "known.csv"
    assert ask(path, "--output", str(out), "--probability", "0.000001") == 0
    anything = pd.read_csv(out)
    assert len(anything) == 11
    assert anything["probability"].between(1e-6, 1).all()
    assert ask(path, "--output", str(out), "--probability", "1e-6", "--limit", "3") == 0
    assert pd.read_csv(out)["fact"].tolist() == anything["fact"][:3].tolist()
    assert ask(path, "--output", str(out), "--probability", "1e-6", "--seed", "5") == 0
    assert pd.read_csv(out)["fact"].tolist() != anything["fact"].tolist()


def test_the_likeliest_wording_is_kept(engine, tmp_path):
    table = demo.prompts("causal").sample(3, random_state=1)
    rows = [{"subject": p, "answer": a} for p, a in table[["prompt", "answer"]].to_numpy()]
    path = tmp_path / "facts.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    out = tmp_path / "known.csv"
    templates = ["--template", "{subject}", "--template", "x x x {subject}"]
    assert ask(path, "--output", str(out), "--probability", "1e-12", *templates) == 0
    known = pd.read_csv(out).sort_values("fact")
    for row, fact in zip(known.itertuples(), rows, strict=True):
        words = [fact["subject"], f"x x x {fact['subject']}"]
        likely = engine.gradients(words, [fact["answer"]] * 2).prob
        assert row.prompt == words[likely.argmax()]
        assert row.probability == pytest.approx(likely.max(), rel=1e-4)


def test_clozes_of_the_benchmarks_become_continuations():
    myriad = "Predict the [MASK] in each sentence in one word.\nQ: {}\nA:"
    names = ["prompt", "answer"]
    facts = facts_of(
        names,
        [
            [myriad.format("Cabernet Franc's name comes from [MASK]."), "France"],
            [myriad.format("[MASK] is spoken in MS."), "English"],
        ],
    )
    assert word(facts[0], "{before}") == "Cabernet Franc's name comes from"
    assert word(facts[1], "{before}") is None
    assert word(facts[1], "Q: {sentence}") == "Q: [MASK] is spoken in MS."
    assert default_template(facts, masked=False) == "{prompt}"
    mc = facts_of(["text", "options", "label"], [["He served as [Y].", ["abbot", "pope"], 1]])
    assert (mc[0].answer, word(mc[0], "{before}")) == ("pope", "He served as")
    assert default_template(mc, masked=False) == "{before}"
    own = facts_of(
        ["subject", "object", "template"], [["Peru", "Lima", "The capital of [X] is [Y] ."]]
    )
    assert word(own[0], "{before}") == "The capital of Peru is"
    with pytest.raises(ValueError, match=r"asks for 'country'; the facts have .*subject"):
        check_template("{country}", own)
    with pytest.raises(ValueError, match="is no template"):
        check_template("{subject", own)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("Qatar Qatar", "3 have answers of several tokens"),
        ("Qatar Qatar", "choose facts with answers of one token"),
        (None, "0 of 3 facts are known, 3 are not"),
        (None, "try other templates"),
    ],
)
def test_files_without_a_known_fact_are_counted(answer, said, tmp_path, capsys, engine):
    table = demo.prompts("causal")
    # An answer of another relation: one token, and not what the prompt asks for.
    other = table[table["relation"] != table["relation"].iloc[0]]["answer"].iloc[0]
    frame = table[["prompt"]][:3].assign(answer=answer or other)
    frame.to_csv(tmp_path / "facts.csv", index=False)
    out = tmp_path / "known.csv"
    assert ask(tmp_path / "facts.csv", "--output", str(out)) == 2
    assert said in capsys.readouterr().err
    assert not out.exists()
