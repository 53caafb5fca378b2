"""Prompts: their layout, their demonstrations, their wording."""

import json
import os
from pathlib import Path

import pytest

from neurgrad.mceval8k import (
    PAWS_CONTEXTS,
    PUBLISHED_TERMS,
    TASKS,
    Context,
    Wording,
    load,
    prompts,
)

pytestmark = pytest.mark.filterwarnings("ignore:task '(imdb|chunking)' lacks:UserWarning")


@pytest.mark.parametrize("name", TASKS)
def test_zero_shot_prompt(root: Path, name: str):
    data = load(name, root=root)
    asked = prompts(data)
    assert len(asked.train) == len(data.train)
    for prompt in asked.test:
        instruction, question = prompt.text.split("\n\n")
        assert instruction.startswith("### ")
        assert question.startswith("### ")
        assert prompt.text.endswith(":")
        assert len(prompt.labels) == len(data.task.labels)
        assert prompt.gold == prompt.record.label
        assert prompt.language in data.task.languages
        for line in question.split("\n"):
            # a header's value follows at once
            assert not line.startswith("###") or ": " not in line[: line.index(":") + 2]


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("order", ["fixed", "shuffled"])
def test_few_shot_prompts_share_a_literal_prefix(root: Path, name: str, order: str):
    # the published fixture is the harder case: its train rows repeat one another and those of test
    data = load(name, "clean" if name in ("imdb", "chunking") else "published", root)
    K = len(data.task.labels)
    asked = prompts(data, shots=K, order=order)
    shown = {r.content for records in asked.demonstrations.values() for r in records}
    assert len(shown) == K * len(asked.demonstrations)
    left = [record for record in data.train if record.content not in shown]
    assert [prompt.record for prompt in asked.train] == left
    assert len(left) < len(data.train)
    for language, records in asked.demonstrations.items():
        mine = [p for p in (*asked.train, *asked.valid, *asked.test) if p.language == language]
        common = os.path.commonprefix([p.text for p in mine])  # noqa: RUF071  by character
        assert {prompt.prefix for prompt in mine} == {mine[0].prefix}
        assert common.startswith(mine[0].prefix)
        assert mine[0].prefix.count("\n\n") == K + 1
        if order == "fixed":
            assert [record.label for record in records] == list(range(K))
        for block, record in zip(mine[0].prefix.split("\n\n")[1:], records, strict=False):
            assert block.endswith(f":{data.task.labels[record.label]}")


def test_prompt_of_every_kind_of_part(root: Path):
    def question(name: str, language: str = "en") -> str:
        task = TASKS[name]
        first = next(p for p in prompts(load(name, root=root)).test if p.language == language)
        assert first.labels == task.labels
        return first.text.split("\n\n")[1]

    lines = question("agnews").split("\n")
    assert lines[1:] == [
        "### Genres:",
        "a.World",
        "b.Sports",
        "c.Business",
        "d.Science",
        "### Answer:",
    ]
    assert "### Target phrase:'target " in question("ner")
    assert "### Target word:'target_token " in question("postag")
    assert "is in [MASK].\n### Options:\na.options" in question("myriadlama")
    assert question("clang8").startswith("### Sentences:\na.clang8 sentence1")
    assert question("fever").endswith("### Validity (True or False):")
    assert question("lti").split("\n")[2:] == [
        "a.English",
        "b.French",
        "c.German",
        "d.Chinese",
        "e.Spanish",
        "### Answer:",
    ]
    assert question("mlama", "es").endswith("### Respuesta:")
    assert "\n### 选项:\na.蕴含\nb.中立\nc.矛盾\n### 答案:" in question("xnli", "zh")
    # spaces go from the text of Chinese xnli and from nothing else
    assert "### 前提:xnlipremise" in question("xnli", "zh")
    assert "### Premise:xnli premise" in question("xnli", "en")


def test_blank_lines_inside_a_record_close_up(root: Path):
    data = load("toxicity", root=root)
    data.test[0].fields["text"] = "one\n\n\ntwo\n\nthree\n"
    asked = prompts(data).test[0]
    assert asked.text.count("\n\n") == 1
    assert "one\ntwo\nthree\n### Toxicity (yes or no):" in asked.text


def test_null_text_is_not_shown(root: Path):
    data = load("agnews", root=root)
    data.test[0].fields["text"] = None
    with pytest.raises(ValueError, match="'text' is null and cannot be shown"):
        prompts(data)


def test_shots_take_turns_over_the_labels(root: Path):
    data = load("agnews", root=root)
    labels = [record.label for record in prompts(data, shots=6).demonstrations["en"]]
    assert labels == [0, 1, 2, 3, 0, 1]
    drawn = prompts(data, shots=6, order="shuffled").demonstrations["en"]
    assert sorted(record.label for record in drawn) == sorted(labels)
    assert [record.label for record in drawn] != labels


def test_seed_draws_the_demonstrations(root: Path):
    data = load("agnews", root=root)
    one, same, other = (prompts(data, 4, seed=seed).demonstrations for seed in (1, 1, 2))
    assert one == same
    assert one != other


def test_too_many_shots(root: Path):
    with pytest.raises(ValueError, match="ask for fewer shots"):
        prompts(load("agnews", root=root), shots=1000)
    with pytest.raises(ValueError, match="expected 0 or more"):
        prompts(load("agnews", root=root), shots=-1)
    with pytest.raises(ValueError, match="expected 'fixed' or 'shuffled'"):
        prompts(load("agnews", root=root), shots=4, order="any")


def test_twelve_paws_contexts(root: Path):
    data = load("paws", root=root)
    asked = {name: prompts(data, context=name) for name in PAWS_CONTEXTS}
    assert len({p.test[0].text for p in asked.values()}) == len(asked) == 12
    for name, made in asked.items():
        context = PAWS_CONTEXTS[name]
        assert len(made.demonstrations["en"]) == context.shots
        assert made.test[0].labels == (("a", "b") if context.choices else ("no", "yes"))
        assert [p.gold for p in made.test] == data.test.labels
    assert "### Options:\na.non-equivalent\nb.equivalent\n### Answer:" in asked["IT2"].test[0].text
    nested = asked["8-shot"].demonstrations["en"]
    assert nested[:2] == asked["IT0"].demonstrations["en"]


def test_contexts_are_for_paws(root: Path):
    with pytest.raises(ValueError, match="for paws only"):
        prompts(load("agnews", root=root), context="IT1")
    with pytest.raises(ValueError, match="no context 'IT9'"):
        prompts(load("paws", root=root), context="IT9")
    mine = Context("mine", shots=2, choices=("no", "yes"))
    assert prompts(load("fever", root=root), context=mine).test[0].labels == ("a", "b")


def test_other_labels_letter_the_options_too(root: Path):
    asked = prompts(load("agnews", root=root), shots=4, labels=("A", "B", "C", "D")).test[0]
    assert "### Genres:\nA.World\nB.Sports" in asked.text
    assert asked.labels[asked.gold] == asked.answer == "ABCD"[asked.gold]
    with pytest.raises(ValueError, match="as many different ones"):
        prompts(load("agnews", root=root), labels=("A", "B"))


@pytest.mark.parametrize("suffix", [".toml", ".json"])
def test_wording_file_replaces_instructions(root: Path, tmp_path: Path, suffix: str):
    file = tmp_path / f"wording{suffix}"
    if suffix == ".toml":
        file.write_text(
            '[instructions]\nagnews = "Topic?"\n[instructions.mlama]\nde = "### Ohne Kopf"\n'
            '[terms.de]\nAnswer = "Lösung"\n',
            encoding="utf-8",
        )
    else:
        words = {
            "instructions": {"agnews": "Topic?", "mlama": {"de": "### Ohne Kopf"}},
            "terms": {"de": {"Answer": "Lösung"}},
        }
        file.write_text(json.dumps(words), encoding="utf-8")
    asked = prompts(load("agnews", root=root), wording=file).test[0]
    assert asked.prefix == "### Instruction: Topic?\n\n"
    by_language = {p.language: p for p in prompts(load("mlama", root=root), wording=file).valid}
    assert by_language["de"].prefix == "### Ohne Kopf\n\n"
    assert by_language["de"].text.endswith("### Lösung:")
    assert by_language["fr"].prefix.startswith("### Instruction: L'une des options")


def test_published_headers_can_be_repeated(root: Path):
    data = load("mlama", root=root)
    asked = prompts(data, wording=Wording().replace(terms=PUBLISHED_TERMS)).test
    assert next(p for p in asked if p.language == "zh").text.endswith("### 问题:")
    assert next(p for p in asked if p.language == "es").text.endswith("### Pregunta:")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[instructions]\nagnew = "x"', "no known task; did you mean 'agnews'"),
        ('[instructions.mlama]\nit = "x"', "no known instruction of task 'mlama'"),
        ('[terms.it]\nAnswer = "x"', "no known language"),
        ("[instructions]\nagnews = 3", "expected a text"),
        ('[instruction]\nagnews = "x"', "did you mean 'instructions'"),
        ("[", "cannot be read"),
    ],
)
def test_wording_file_with_a_slip(tmp_path: Path, text: str, message: str):
    file = tmp_path / "wording.toml"
    file.write_text(text)
    with pytest.raises(ValueError, match=message):
        Wording.from_file(file)


def test_wording_file_of_another_kind(tmp_path: Path):
    with pytest.raises(ValueError, match=r"ends in \.toml or \.json"):
        Wording.from_file(tmp_path / "wording.txt")
    with pytest.raises(ValueError, match="cannot be read"):
        Wording.from_file(tmp_path / "absent.json")


def test_every_task_has_an_instruction_in_every_language():
    for task in TASKS.values():
        texts = [Wording().instruction(task, language) for language in task.languages]
        assert len(set(texts)) == len(task.languages)
    keys = {context.instruction for context in PAWS_CONTEXTS.values()}
    assert len({Wording().instruction(TASKS["paws"], key) for key in keys}) == 5
