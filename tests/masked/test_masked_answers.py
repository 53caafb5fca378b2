"""Answers of several tokens in the place of as many masks, against whole forwards."""

import numpy as np
import pytest
from masked_models import CASES, build, engine, some_neurons
from masked_tokenizers import word_piece

from negkernel import Engine, Intervention
from negkernel.testing.compare import assert_close
from negkernel.testing.exact import exact_float64

BUDGET = 1e-9
MASK = 4
PROMPTS = [[2, 5, MASK, MASK, MASK, 7, 9], [MASK, 11], [2, MASK, 8, 8, 8, MASK, 3]]
TARGETS = [[[7, 11, 5], [9, 9, 60]], [[60], [12]], [[5, 8], [40, 41]]]
SEVERAL = {"target_tokens": "all"}


@pytest.mark.parametrize("case", CASES)
def test_against_whole_forwards(case):
    e = engine(case)
    shift = Intervention([[0, 3], [e.n_layers - 1, 5]], [1.0, -2.0])
    found = {}
    with exact_float64(e.model):
        for method in ("full", "delta"):
            how = {"method": method, **SEVERAL}
            found[method] = [
                e.sweep(PROMPTS, TARGETS, some_neurons(e), [-2.0, 0.1, 20.0], **how),
                e.intervene(PROMPTS, TARGETS, [shift], position="all", **how),
                e.gradients(PROMPTS, TARGETS, **how),
            ]
    for ours, truth in zip(found["delta"], found["full"], strict=True):
        for name in ("logprob_shift", "base_logprob", "token_logprob_shift", "cg", "prob"):
            if hasattr(truth, name):
                pair = [np.nan_to_num(getattr(one, name)) for one in (ours, truth)]
                largest = np.abs(pair[1]).max()
                assert largest > 0
                assert_close(*pair, budget=BUDGET, relative_to=largest, what=name)
    first = found["delta"][0]
    assert first.token_logprob_shift.shape[-1] == 3
    assert np.isnan(first.token_logprob_shift[1, ..., 1:]).all()
    assert_close(
        np.nansum(first.token_logprob_shift, -1), first.logprob_shift, budget=BUDGET, what="sums"
    )


@pytest.fixture(scope="module")
def bert():
    return Engine(build("bert"), word_piece())


def test_text_in_the_place_of_masks(bert):
    found = bert.sweep(
        ["[MASK] [MASK] is the capital of France."], ["Rome Paris"], [[0, 1]], [1.0], **SEVERAL
    )
    assert bert.tokenizer.convert_ids_to_tokens(found.target_tokens[0][0]) == ["rome", "paris"]
    assert found.prompt_tokens[0].count(MASK) == 2


@pytest.mark.parametrize(
    ("prompt", "target", "options", "message"),
    [
        ("[MASK] is the capital of France.", "Rome Paris", {}, "is 2 tokens for 1 masks"),
        ("[MASK] [MASK] is it.", "Paris", {}, "for 2 masks"),
        ("[MASK] is [MASK].", "Rome Paris", {}, "masks side by side"),
        ("[MASK] [MASK] is it.", "Rome Paris", {"mask_index": 0}, "2 tokens for 1 masks"),
        ("[MASK] is it.", "Rome Paris", {"target_tokens": "one"}, "'first' or 'all'"),
    ],
)
def test_what_does_not_fit_is_refused(bert, prompt, target, options, message):
    with pytest.raises(ValueError, match=message):
        bert.sweep([prompt], [target], [[0, 1]], [1.0], **(SEVERAL | options))


def test_the_first_token_alone(bert):
    prompts = ["[MASK] is the capital of France."]
    first = bert.sweep(prompts, ["Rome Paris"], [[0, 1]], [1.0], target_tokens="first")
    one = bert.sweep(prompts, ["Rome"], [[0, 1]], [1.0])
    np.testing.assert_array_equal(first.logprob_shift, one.logprob_shift)
