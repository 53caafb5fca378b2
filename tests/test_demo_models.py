"""The embedded models keep what the README says of them."""

from __future__ import annotations

import json
import re

import pytest
import torch

from neurgrad import demo
from neurgrad.demo import recall, train
from neurgrad.demo.templates import RELATIONS, templates
from neurgrad.demo.vocabulary import words

KINDS = ("causal", "masked")


@pytest.fixture(scope="module", params=KINDS)
def demo_model(request: pytest.FixtureRequest) -> tuple:
    return request.param, *demo.load_model(request.param)


@pytest.mark.parametrize("kind", KINDS)
def test_folder_is_small_and_holds_no_code(kind):
    files = list(demo.folder(kind).iterdir())
    assert {file.name for file in files} >= {"config.json", "model.safetensors", "tokenizer.json"}
    assert {file.suffix for file in files} == {".json", ".safetensors"}
    assert sum(file.stat().st_size for file in files) <= 4_000_000


def test_folder_of_unknown_kind_names_the_kinds():
    with pytest.raises(ValueError, match="'causal' or 'masked'"):
        demo.folder("encoder")
    with pytest.raises(ValueError, match="'causal' or 'masked'"):
        demo.prompts("encoder")


def test_loaded_model_is_the_saved_one(demo_model):
    kind, model, _ = demo_model
    saved = json.loads((demo.folder(kind) / "config.json").read_text())
    assert [type(model).__name__] == saved["architectures"]
    assert not model.training
    assert model.dtype == torch.float32


def test_facts_are_recalled_in_both_splits(demo_model):
    kind, model, tokenizer = demo_model
    # Every fact in a third of the phrasings; the training script measures all of them.
    frame = demo.prompts(kind)
    frame = frame[frame["template"].isin(frame["template"].unique()[::3])]
    shares = demo.recalled(demo.answer_probabilities(model, tokenizer, frame), frame)
    assert set(shares.index) == {"train", "heldout"}
    assert (shares >= 0.9).all(), shares


def test_recall_counts_only_the_right_answer(demo_model):
    kind, model, tokenizer = demo_model
    frame = demo.prompts(kind).groupby("relation").head(80)
    # The next country's answer is wrong unless two neighbours share it.
    wrong = frame.assign(answer=frame.groupby("relation")["answer"].shift(74)).dropna()
    wrong = wrong[wrong["answer"] != frame.loc[wrong.index, "answer"]]
    assert len(wrong) > 0
    assert (demo.answer_probabilities(model, tokenizer, wrong) < 0.5).all()


def test_padding_does_not_change_a_probability(demo_model):
    kind, model, tokenizer = demo_model
    frame = demo.prompts(kind).sample(20, random_state=0)
    together = demo.answer_probabilities(model, tokenizer, frame)
    alone = [demo.answer_probabilities(model, tokenizer, frame.iloc[[i]])[0] for i in range(20)]
    # float32 sums in another order: a few units in the last place of a probability.
    torch.testing.assert_close(torch.tensor(together), torch.tensor(alone), atol=1e-5, rtol=0)


def test_causal_answer_is_one_token_after_the_prompt():
    _, tokenizer = demo.load_model("causal")
    frame = demo.prompts("causal").drop_duplicates(["relation", "subject"])
    prompts = frame["prompt"].tolist()
    before = tokenizer(prompts)["input_ids"]
    after = tokenizer((frame["prompt"] + " " + frame["answer"]).tolist())["input_ids"]
    answers = recall.encode(tokenizer, frame)[3].tolist()
    assert [[*ids, answer] for ids, answer in zip(before, answers, strict=True)] == after
    assert all(
        ids.count(tokenizer.bos_token_id) == 1 and ids[0] == tokenizer.bos_token_id
        for ids in before
    )
    assert tokenizer.batch_decode(before, skip_special_tokens=True) == prompts


def test_words_outside_the_corpus_round_trip(demo_model):
    _, _, tokenizer = demo_model
    text = "Zanzibar has 3 ports, 12 quays"
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.unk_token_id not in ids
    assert tokenizer.decode(ids, skip_special_tokens=True) == text


def test_masked_prompt_has_one_mask_anywhere():
    frame = demo.prompts("masked")
    assert (frame["prompt"].str.count(re.escape("[MASK]")) == 1).all()
    places = frame["prompt"].str.find("[MASK]")
    assert (places == 0).any()
    assert places.nunique() > 20


@pytest.mark.parametrize("relation", RELATIONS)
def test_heldout_phrasings_are_new_but_their_words_are_not(relation):
    texts = {split: set() for split in ("train", "heldout")}
    for template in templates(relation):
        texts[template.split].add(template.text)
    assert len(texts["train"]) >= 28
    assert texts["heldout"]
    assert texts["train"].isdisjoint(texts["heldout"])
    assert set(words(texts["heldout"])) <= set(words(texts["train"]))


@pytest.mark.parametrize("kind", KINDS)
def test_a_fresh_build_repeats_and_reads_like_the_shipped_tokenizer(kind):
    states = []
    for _ in range(2):
        torch.manual_seed(train.SEED)
        model, tokenizer = train.build(kind, train.corpus(kind))
        states.append(model.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert tokenizer.get_vocab() == demo.load_model(kind)[1].get_vocab()
    data, again = train.examples(kind, tokenizer), train.examples(kind, tokenizer)
    assert all(torch.equal(one, other) for one, other in zip(data, again, strict=True))


def test_probability_of_an_unknown_answer_is_refused(demo_model):
    kind, model, tokenizer = demo_model
    frame = demo.prompts(kind).head(1).assign(answer="Atlantis")
    with pytest.raises(ValueError, match=r"'Atlantis'.*one token"):
        demo.answer_probabilities(model, tokenizer, frame)
