"""Prompts in the forms that people hold them in give the numbers of plain token ids."""

import numpy as np
import pandas as pd
import pytest
import torch
from small_models import build
from small_tokenizers import byte_level

from negkernel import Engine

TEXTS = ["The capital of Italy is Rome. The capital of France is", "Q: Italy A:"]
WORDS = ["Paris", "Rome"]
TEMPLATE = (
    "{% for m in messages %}<s>{{ m.role }}: {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant:{% endif %}"
)


@pytest.fixture(scope="module")
def tokenizer():
    tokenizer = byte_level()
    tokenizer.add_special_tokens({"pad_token": "<pad>"})
    tokenizer.chat_template = TEMPLATE
    return tokenizer


@pytest.fixture(scope="module")
def engine(tokenizer):
    return Engine(build("llama", vocab_size=420), tokenizer)


@pytest.fixture(scope="module")
def right(engine, tokenizer):
    return shifts(engine, [tokenizer(text)["input_ids"] for text in TEXTS])


def shifts(engine, prompts, targets=WORDS, **options):
    found = engine.sweep(prompts, targets, [[0, 1], [2, 5]], [-1.0, 2.0], **options)
    return np.concatenate(
        [found.base_logprob[:, None, None] + 0 * found.logprob_shift, found.logprob_shift]
    )


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("kind", [None, "np", "pt"])
def test_what_a_tokenizer_returns(engine, tokenizer, right, side, kind):
    tokenizer.padding_side = side
    encoded = tokenizer(TEXTS, padding=True, return_tensors=kind)
    lengths = [int(np.sum(row)) for row in np.asarray(encoded["attention_mask"])]
    assert lengths[0] != lengths[1], "nothing is padded"
    for prompts in (encoded, dict(encoded)):
        np.testing.assert_array_equal(shifts(engine, prompts), right)
    ids, mask = encoded["input_ids"], encoded["attention_mask"]
    np.testing.assert_array_equal(shifts(engine, ids, attention_mask=mask), right)
    found = engine.sweep(encoded, WORDS, [[0, 1]], [1.0])
    assert [len(tokens) for tokens in found.prompt_tokens] == lengths
    with pytest.raises(
        ValueError, match=r"prompt 1 (begins|ends) in \d+ padding tokens .*has no a"
    ):
        shifts(engine, ids)


@pytest.mark.parametrize("kind", [None, "np", "pt"])
def test_one_encoding_a_prompt(engine, tokenizer, right, kind):
    each = [tokenizer(text, return_tensors=kind) for text in TEXTS]
    np.testing.assert_array_equal(shifts(engine, each), right)
    np.testing.assert_array_equal(shifts(engine, [one["input_ids"] for one in each]), right)


def test_columns_and_generators(engine, right):
    for column in (
        np.array(TEXTS),
        pd.Series(TEXTS, index=[7, 3]),
        tuple(TEXTS),
    ):
        np.testing.assert_array_equal(shifts(engine, column), right)
    np.testing.assert_array_equal(shifts(engine, iter(TEXTS)), right)
    with pytest.raises(ValueError, match=r"prompts is DataFrame; expected a list.*one column of a"):
        shifts(engine, pd.DataFrame({"prompt": TEXTS}))


def test_a_column_of_datasets(engine, right):
    datasets = pytest.importorskip("datasets")
    table = datasets.Dataset.from_dict({"prompt": TEXTS, "answer": WORDS})
    np.testing.assert_array_equal(shifts(engine, table["prompt"], table["answer"]), right)
    with pytest.raises(ValueError, match=r"prompts is Dataset; expected a list.*one column"):
        shifts(engine, table)


def test_one_text_alone(engine, right):
    one = engine.sweep(TEXTS[0], WORDS[0], [[0, 1], [2, 5]], [-1.0, 2.0])
    assert one.logprob_shift.shape == (1, 2, 2)
    np.testing.assert_allclose(one.logprob_shift[0], right[2], atol=1e-12)
    listed = engine.sweep(TEXTS[0], [WORDS], [[0, 1]], [1.0])
    assert listed.logprob_shift.shape[:2] == (1, 2)


def test_chats_go_through_the_template(engine, tokenizer):
    asked = [{"role": "user", "content": "What is the capital of Japan?"}]
    begun = [*asked, {"role": "assistant", "content": "Answer:"}]
    found = engine.sweep([asked, begun], ["Tokyo"] * 2, [[0, 1]], [1.0])
    ids = tokenizer.apply_chat_template(
        asked, tokenize=True, add_generation_prompt=True, return_dict=False
    )
    assert found.prompt_tokens[0] == ids
    assert tokenizer.decode(found.prompt_tokens[1]).endswith("assistant: Answer:")
    alone = engine.sweep(asked, "Tokyo", [[0, 1]], [1.0])
    np.testing.assert_allclose(alone.logprob_shift[0], found.logprob_shift[0], atol=1e-12)
    plain = Engine(engine.model, byte_level())
    with pytest.raises(ValueError, match="prompt 0 is a chat but the tokenizer has no chat templ"):
        plain.sweep([asked], ["Tokyo"], [[0, 1]], [1.0])


PAIRS = {"input_ids": [[1, 2, 3]], "token_type_ids": [[0, 0, 1]]}
REFUSED = {
    "hole": ([[5, 6, 7, 8]], [[1, 0, 1, 1]], "attention_mask has a hole at position 1; expected"),
    "nothing left": ([[5, 6]], [[0, 0]], "attention_mask leaves no token; expected at least one"),
    "too short": ([[5, 6, 7]], [[1, 1]], r"shape \[2\] and values \[1\]; expected a 0 or 1"),
    "weights": ([[5, 6]], [[0.5, 1]], r"values \[0\.5, 1\.0\]; expected a 0 or 1 for each of 2"),
    "rows": ([[5, 6]], [[1, 1], [1, 1]], "attention_mask has 2 rows for 1 prompts; expected one"),
    "a number": ([[5, 6]], 1, "attention_mask is int; expected a list"),
    "of text": (["Paris"], [[1]], "prompt 0 is text; expected attention_mask with token ids"),
    "pairs": (PAIRS, None, "token_type_ids other than 0.*expected single texts"),
    "positions": ({"input_ids": [[1, 2]], "position_ids": [[0, 1]]}, None, "has position_ids"),
}


@pytest.mark.parametrize(("prompts", "mask", "message"), REFUSED.values(), ids=REFUSED)
def test_masks_that_are_refused(engine, prompts, mask, message):
    with pytest.raises(ValueError, match=message):
        engine.gradients(prompts, [7], attention_mask=mask)


def with_special(**special):
    tokenizer = byte_level()
    tokenizer.add_special_tokens(special)
    return Engine(build("llama", torch.float32, vocab_size=420), tokenizer)


def test_padding_that_is_also_a_word():
    """Beginning of text may stand at the beginning once; a mask says what else is meant."""
    shared = with_special(pad_token="<s>")  # as GPT-2's one special token
    end = with_special(pad_token="</s>")  # as people do for Llama
    bos, eos = shared.tokenizer.bos_token_id, end.tokenizer.eos_token_id
    for engine, ids in ((shared, [bos, 9, 8]), (shared, [bos]), (end, [bos, 9, eos, 8])):
        assert engine.rank([ids], [7]).shape == (1,)
    for engine, ids, message in (
        (shared, [bos, bos, 9], r"prompt 0 begins in 2 padding tokens \(id 0\)"),
        (shared, [bos, 9, bos], r"prompt 0 ends in 1 padding tokens \(id 0\)"),
        (end, [eos, bos, 9], r"prompt 0 begins in 1 padding tokens"),
        (end, [bos, 9, eos], r"prompt 0 ends in 1 padding tokens .*pass attention_mask="),
    ):
        with pytest.raises(ValueError, match=message):
            engine.rank([ids], [7])
        assert engine.rank([ids], [7], attention_mask=[[1] * len(ids)]).shape == (1,)


def test_padding_that_the_config_names():
    model = build("llama", torch.float32)
    model.config.pad_token_id = 3
    engine = Engine(model)
    assert engine.rank([[3, 9, 3], [3], [3, 3]], [7, 7, 7]).shape == (3,)
    with pytest.raises(ValueError, match="prompt 0 ends in 2 padding tokens"):
        engine.rank(torch.tensor([[9, 8, 3, 3], [1, 2, 4, 5]]), [7, 7])
