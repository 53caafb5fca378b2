"""Text becomes the tokens a model expects: special tokens once, targets in one piece."""

import logging

import numpy as np
import pytest
import torch
from small_models import build
from small_tokenizers import byte_level, sentence_piece_like

from negkernel import Engine
from negkernel.request.prompts import encode_request
from negkernel.request.reader import Reader

PROMPT = "The capital of France is"
VOCABULARY = 420


def encode(prompts, targets, tokenizer, **options):
    reader = Reader(tokenizer, inputs=VOCABULARY, outputs=VOCABULARY)
    return encode_request(prompts, targets, reader, **options)


def piece(tokenizer, request):
    return tokenizer.convert_ids_to_tokens(int(request.target_ids[0, 0]))


@pytest.fixture(scope="module")
def bpe():
    return byte_level()


@pytest.fixture(scope="module")
def llama():
    return sentence_piece_like()


@pytest.mark.parametrize("make", [byte_level, sentence_piece_like])
def test_special_tokens_once(make):
    tokenizer = make()
    bare = tokenizer(PROMPT, add_special_tokens=False)["input_ids"]
    expected = [tokenizer.bos_token_id, *bare]
    assert encode([PROMPT], [5], tokenizer).tokens == [expected]
    written = encode(["<s>" + PROMPT], [5], tokenizer).tokens[0]
    assert written.count(tokenizer.bos_token_id) == 1
    assert written[0] == tokenizer.bos_token_id


def test_end_token_is_not_probed():
    """A tokenizer that appends one must not move the probed position, nor hide the target."""
    tokenizer = byte_level(eos=True)
    assert tokenizer(PROMPT)["input_ids"][-1] == tokenizer.eos_token_id
    request = encode([PROMPT], ["Paris"], tokenizer)
    assert request.tokens == encode([PROMPT], ["Paris"], byte_level()).tokens
    assert piece(tokenizer, request) == "ĠParis"
    written = encode([PROMPT + "</s>"], [5], tokenizer).tokens[0]
    assert written[-1] == tokenizer.eos_token_id, "written by the user, so it stays"


@pytest.mark.parametrize(
    ("prompt", "target", "expected"),
    [
        (PROMPT, "Paris", "ĠParis"),
        ("Q: France A:", "Paris", "ĠParis"),
        ("Q: France A:\n", "Paris", "Paris"),
        (PROMPT, " Paris", None),  # with the inserted space there would be two
    ],
)
def test_auto_inserts_a_space_unless_there_is_one(bpe, prompt, target, expected):
    if expected is None:
        with pytest.raises(ValueError, match="not one token"):
            encode([prompt], [target], bpe)
    else:
        assert piece(bpe, encode([prompt], [target], bpe)) == expected


def test_prefix_is_taken_as_it_is(bpe):
    prompt = "Q: France A:"
    assert piece(bpe, encode([prompt], ["Paris"], bpe, target_prefix="")) == "Paris"
    assert piece(bpe, encode([prompt], [" Paris"], bpe, target_prefix="")) == "ĠParis"
    assert piece(bpe, encode([prompt], ["Paris"], bpe, target_prefix=" ")) == "ĠParis"


def test_sentence_piece_word_start(llama):
    """Encoded alone, a word always gets the space mark; after a prompt it must be asked for."""
    prompt = "Q: France A:"
    assert piece(llama, encode([prompt], ["Paris"], llama)) == "▁Paris"
    assert piece(llama, encode([prompt], ["Paris"], llama, target_encoding="alone")) == "▁Paris"
    prompt_ids = encode([prompt], ["Paris"], llama).tokens[0]
    assert prompt_ids[0] == llama.bos_token_id
    assert prompt_ids[-1] != llama.convert_tokens_to_ids("▁")


def test_alone_is_the_bare_word(bpe):
    request = encode([PROMPT], ["Paris"], bpe, target_encoding="alone")
    assert piece(bpe, request) == "Paris"
    with pytest.raises(ValueError, match=r"'Reykjavik' alone becomes \['R'.*target_encoding='join"):
        encode([PROMPT], ["Reykjavik"], bpe, target_encoding="alone")


def test_several_tokens_are_shown(bpe):
    with pytest.raises(ValueError) as caught:
        encode([PROMPT], ["Rome and Tokyo"], bpe)
    message = str(caught.value)
    for part in ("'Rome and Tokyo'", "'ĠRome'", "'Ġand'", "'ĠTokyo'", "single token", "token id"):
        assert part in message


def test_target_that_changes_the_prompts_tokens(bpe):
    """A trailing space is a token of its own that the target would swallow."""
    with pytest.raises(ValueError, match=r"'Paris' becomes \['ĠParis'\]"):
        encode([PROMPT + " "], ["Paris"], bpe)


@pytest.mark.parametrize("prompt", ["", "   ", "\n"])
def test_empty_text(bpe, prompt):
    with pytest.raises(ValueError, match="prompt 0 is empty; expected text"):
        encode([prompt], [5], bpe)


@pytest.mark.parametrize("target", ["", "  "])
def test_empty_target(bpe, target):
    with pytest.raises(ValueError, match="is empty; expected a word or a token id"):
        encode([PROMPT], [target], bpe)


def test_ids_are_taken_verbatim(bpe):
    """No BOS in front, none taken away, targets after them found all the same."""
    bare = bpe(PROMPT, add_special_tokens=False)["input_ids"]
    bos = bpe.bos_token_id
    for ids in (bare, [bos, *bare], [bos, bos, *bare]):
        request = encode([ids, np.array(ids)], ["Paris", "Rome"], bpe)
        assert request.tokens == [ids, ids]
        assert bpe.convert_ids_to_tokens(request.target_ids[:, 0]) == ["ĠParis", "ĠRome"]


def test_results_name_prompts_and_targets(bpe):
    engine = Engine(build("llama", vocab_size=VOCABULARY), bpe)
    ids = bpe(PROMPT)["input_ids"]
    paris = bpe.convert_tokens_to_ids("ĠParis")
    sweep = engine.sweep([PROMPT, ids], [["Paris", "Rome"], [paris, "Tokyo"]], [[0, 1]], [1.0])
    assert sweep.prompts[0] == PROMPT
    assert PROMPT in sweep.prompts[1]
    assert sweep.prompt_tokens == [ids, ids]
    assert sweep.targets[0] == ["Paris", "Rome"]
    assert [target.strip() for target in sweep.targets[1]] == ["Paris", "Tokyo"]
    assert sweep.target_ids[0, 0] == sweep.target_ids[1, 0] == paris
    np.testing.assert_allclose(sweep.logprob_shift[0, 0], sweep.logprob_shift[1, 0], atol=1e-12)


@pytest.mark.parametrize("likelier", ["Paris", "ĠParis"])
@pytest.mark.parametrize("method", ["delta", "suffix", "full"])
@pytest.mark.parametrize("resolution", ["grid", "spectral"])
def test_one_log_line_when_the_other_spelling_is_likelier(
    bpe, likelier, method, resolution, caplog
):
    model = build("llama", vocab_size=VOCABULARY)
    request = encode([PROMPT, PROMPT], ["Paris", "Rome"], bpe)
    spellings = [bpe.convert_tokens_to_ids(word) for word in ("Paris", "ĠParis")]
    with torch.no_grad():
        # The chosen spelling's logit becomes the hidden state's square, the other's its negative.
        hidden = model.model(torch.tensor([request.tokens[0]])).last_hidden_state[0, -1]
        wanted = bpe.convert_tokens_to_ids(likelier)
        for token in spellings:
            model.lm_head.weight[token] = hidden if token == wanted else -hidden
    engine = Engine(model, bpe)
    with caplog.at_level(logging.WARNING, "negkernel"):
        shifts = [-1.0, 0.5, 1.0]
        engine.sweep([PROMPT], ["Paris"], [[0, 1]], shifts, method=method, resolution=resolution)
    lines = [record.getMessage() for record in caplog.records if "spelling" in record.getMessage()]
    if likelier == "Paris":  # " Paris" was asked for
        assert len(lines) == 1
        assert "'Paris'" in lines[0]
        assert "target_prefix" in lines[0]
    else:
        assert not lines


def test_text_that_is_no_unicode_is_refused(bpe):
    broken = b"caf\xe9".decode(errors="surrogateescape")  # as a Latin-1 argument arrives
    with pytest.raises(ValueError, match=r"prompt 0 'caf\\udce9' is not valid Unicode at char"):
        encode([broken], ["a"], bpe)
    with pytest.raises(ValueError, match=r"target 'caf\\udce9' is not valid Unicode at char"):
        encode([PROMPT], [broken], bpe)
