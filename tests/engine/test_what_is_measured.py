"""The token that is measured says what was asked for, or the target is refused."""

import numpy as np
import pytest
import torch
from small_models import build
from small_tokenizers import byte_level, sentence_piece_like
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

from negkernel import Engine

PROMPT = "The capital of France is"
WORDS = ["[UNK]", "[CLS]", "[SEP]", "[MASK]", "[PAD]", "the", "capital", "of", "france", "is"]
WORDS += ["paris", "rome", "cafe", "##s", "##is", "par", "."]


@pytest.fixture(scope="module")
def causal():
    return build("llama", torch.float32, vocab_size=420)


def bert_like(*, special=True):
    """WordPiece that lowers case, strips accents and drops control characters, as BERT's does."""
    tokenizer = Tokenizer(models.WordPiece({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    if special:
        tokenizer.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        pad_token="[PAD]",
    )


def ask(model, tokenizer, prompt, target, **options):
    found = Engine(model, tokenizer).sweep([prompt], [target], [[0, 1]], [1.0], **options)
    return tokenizer.convert_ids_to_tokens(int(found.target_ids[0]))


@pytest.mark.parametrize("make", [byte_level, sentence_piece_like, lambda: byte_level(eos=True)])
def test_an_end_token_is_measured_as_such(causal, make):
    tokenizer = make()
    assert ask(causal, tokenizer, PROMPT, "</s>") == "</s>"
    assert ask(causal, tokenizer, PROMPT, "</s>", target_prefix="") == "</s>"
    for target in ("Paris</s>", " </s>", "</s>Paris"):
        with pytest.raises(ValueError, match=r"target .* is not one token after the prompt"):
            ask(causal, tokenizer, PROMPT, target)


def test_an_end_token_that_the_tokenizer_appends_is_no_target(causal):
    tokenizer = byte_level(eos=True)
    engine = Engine(causal, tokenizer)
    plain = Engine(causal, byte_level()).sweep([PROMPT], ["Paris"], [[0, 1]], [1.0])
    found = engine.sweep([PROMPT], ["Paris"], [[0, 1]], [1.0])
    np.testing.assert_array_equal(found.logprob_shift, plain.logprob_shift)
    twice = engine.sweep([PROMPT + "</s>"], ["Paris"], [[0, 1]], [1.0], target_prefix="")
    assert twice.prompt_tokens[0].count(tokenizer.eos_token_id) == 1


def test_a_separator_behind_a_causal_prompt_is_not_probed(causal):
    found = Engine(causal, bert_like()).sweep(["the capital is"], ["paris"], [[0, 1]], [1.0])
    assert found.prompt_tokens == [[1, 5, 6, 9]]


@pytest.mark.parametrize("target", ["Zürich", "Par\u200bis", "par\x00is", "zork", "\u0301paris!"])
@pytest.mark.parametrize("encoding", ["joint", "alone"])
def test_lost_characters_are_refused(causal, target, encoding):
    with pytest.raises(ValueError, match=r"target .*(another text|not one token|alone becomes)"):
        ask(causal, bert_like(), "the capital is", target, target_encoding=encoding)


@pytest.mark.parametrize("target", ["Paris", "PARIS", "paris", "café", "Cafe"])
def test_case_and_accents_fold_as_the_tokenizer_documents(causal, target):
    expected = "cafe" if target[0] in "cC" else "paris"
    assert ask(causal, bert_like(), "the capital is", target) == expected


def test_masked_models_alike():
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
    )
    model, prompt = BertForMaskedLM(config).eval(), "The capital of France is [MASK]."
    assert ask(model, bert_like(), prompt, "Paris") == "paris"
    for target in ("zork", "Par\u200bis", "Zürich", "paris rome"):
        with pytest.raises(ValueError, match=r"target .*(another text|not one token)"):
            ask(model, bert_like(), prompt, target)
    written = Engine(model, bert_like()).sweep(
        [f"[CLS] {prompt} [SEP]", prompt], ["rome"] * 2, [[0, 1]], [1.0]
    )
    assert written.prompt_tokens[0] == written.prompt_tokens[1]


def test_tokens_that_only_the_tokenizer_has():
    tokenizer = byte_level()
    tokenizer.add_tokens(["[ENT]"])
    size = len(tokenizer) - 1
    engine = Engine(build("llama", torch.float32, vocab_size=size), tokenizer)
    for prompt, target in (
        ("The [ENT] is", "Paris"),
        (PROMPT, "[ENT]"),
        ([1, size], 5),
        ([1, 2], size),
    ):
        with pytest.raises(
            ValueError, match=rf"(\[ENT\]|id {size}).*vocabulary.*expected"
        ) as caught:
            engine.sweep([prompt], [target], [[0, 1]], [1.0], target_prefix="")
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=r"\[ENT\]'.*is beyond the model's vocabulary.*resize"):
        engine.gradients([PROMPT], ["[ENT]"], target_prefix="")
    with pytest.raises(ValueError, match=r"\[ENT\]'.*is beyond the model's vocabulary"):
        engine.rank([PROMPT], ["[ENT]"], target_encoding="alone")
    engine.model.resize_token_embeddings(len(tokenizer))
    assert engine.rank(["The [ENT] is"], ["Paris"]).shape == (1,)


def test_an_other_spelling_that_the_model_lacks_is_not_looked_up():
    tokenizer = byte_level()
    spaced = tokenizer.convert_tokens_to_ids("ĠParis")
    tokenizer.add_tokens([" Paris"], special_tokens=False)
    added = len(tokenizer) - 1
    engine = Engine(build("llama", torch.float32, vocab_size=added), tokenizer)
    assert spaced < added
    found = engine.sweep(["Q: France A:\n"], ["Paris"], [[0, 1]], [1.0])
    assert np.isfinite(found.logprob_shift).all()
