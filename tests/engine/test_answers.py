"""Targets of several tokens: how they are read, kept, priced and refused."""

import numpy as np
import pytest
import torch
from small_models import build
from small_tokenizers import byte_level, sentence_piece_like

from negkernel import Engine, Intervention, Interventions, Sweep
from negkernel.testing.compare import assert_close

PROMPTS = ["The capital of France is", "Tokyo lies in"]
TARGETS = ["Reykjavik", "Paris"]  # several tokens, and one
NEURONS, SHIFTS = [[0, 3], [1, 5]], [-2.0, 0.5, 1.0]
SEVERAL = {"target_tokens": "all"}


@pytest.fixture(scope="module")
def engine():
    tokenizer = byte_level()
    model = build("llama", vocab_size=len(tokenizer), max_position_embeddings=40)
    return Engine(model, tokenizer)


def log_prob(model, tokens, target):
    """Sum of the log-probs of a target's tokens, each given those before it."""
    with torch.no_grad():
        logits = model(torch.tensor([tokens + target])).logits[0].double()
    logprob = logits.log_softmax(-1)
    return [float(logprob[len(tokens) - 1 + i, token]) for i, token in enumerate(target)]


def test_the_base_is_the_log_prob_of_the_continuation(engine):
    found = engine.sweep(PROMPTS, TARGETS, NEURONS, SHIFTS, **SEVERAL)
    assert len(found.target_tokens[0][0]) > 1
    assert len(found.target_tokens[1][0]) == 1
    for p, tokens in enumerate(found.prompt_tokens):
        each = log_prob(engine.model, tokens, found.target_tokens[p][0])
        assert found.base_logprob[p] == pytest.approx(sum(each), abs=1e-5)
        np.testing.assert_allclose(found.base_token_logprob[p, : len(each)], each, atol=1e-5)
        assert np.isnan(found.base_token_logprob[p, len(each) :]).all()


def test_one_token_is_what_it_was(engine):
    one = engine.sweep(PROMPTS, ["Paris", "Rome"], NEURONS, SHIFTS)
    several = engine.sweep(PROMPTS, ["Paris", "Rome"], NEURONS, SHIFTS, **SEVERAL)
    np.testing.assert_array_equal(one.logprob_shift, several.logprob_shift)
    np.testing.assert_array_equal(several.token_logprob_shift[..., 0], one.logprob_shift)
    assert one.target_tokens is None
    assert one.token_logprob_shift is None


def test_the_first_token_is_a_target_of_one(engine):
    first = engine.sweep(PROMPTS, TARGETS, NEURONS, SHIFTS, target_tokens="first")
    ids = first.target_ids.tolist()
    one = engine.sweep(first.prompt_tokens, ids, NEURONS, SHIFTS)
    np.testing.assert_array_equal(first.logprob_shift, one.logprob_shift)


def test_alone_and_together_and_as_ids(engine):
    K = [["Reykjavik", "Rome", "Reyk"], ["Paris", "Tokyo", "Rome Paris"]]
    found = engine.sweep(PROMPTS, K, NEURONS, SHIFTS, **SEVERAL)
    ids = engine.sweep(found.prompt_tokens, found.target_tokens, NEURONS, SHIFTS, **SEVERAL)
    np.testing.assert_array_equal(found.logprob_shift, ids.logprob_shift)
    largest = np.abs(found.logprob_shift).max()
    for k in range(3):
        for p in range(2):
            alone = engine.sweep([PROMPTS[p]], [K[p][k]], NEURONS, SHIFTS, **SEVERAL)
            assert_close(
                alone.logprob_shift[0], found.logprob_shift[p, k], budget=1e-9, relative_to=largest
            )


def test_gradients_are_those_of_the_whole_answers_probability(engine):
    step = 1e-4
    grads = engine.gradients(PROMPTS, TARGETS, **SEVERAL)
    up, down = (
        engine.sweep(PROMPTS, TARGETS, NEURONS, [s], axis="signed", **SEVERAL).prob_shift()[..., 0]
        for s in (step, -step)
    )
    at = tuple(np.array(NEURONS).T)
    slope = (up - down) / (2 * step)
    assert_close(slope, grads.cg[:, *at], budget=1e-5, relative_to=np.abs(slope).max())
    logs = engine.gradients(PROMPTS, TARGETS, log=True, **SEVERAL)
    assert_close(logs.cg * grads.prob[:, None, None], grads.cg, budget=1e-12)


def test_spectral_curves_and_maps_are_those_of_a_grid(engine):
    shifts = np.linspace(-2, 2, 41)
    K = [["Reykjavik", "Rome"], ["Paris", "Tokyo"]]
    grid = engine.sweep(PROMPTS, K, NEURONS, shifts, **SEVERAL)
    found = engine.sweep(PROMPTS, K, NEURONS, shifts, resolution="spectral", **SEVERAL)
    off = np.abs(found.logprob_shift - grid.logprob_shift).max(-1)
    assert (off <= found.error).all()
    off = np.nan_to_num(found.token_logprob_shift - grid.token_logprob_shift)
    assert np.abs(off).max() <= 1e-3 * np.abs(grid.logprob_shift).max()
    paper = engine.sweep(PROMPTS, K, NEURONS, np.delete(np.linspace(-2, 2, 101), 50), **SEVERAL)
    neg = engine.neg_map(PROMPTS, K, **SEVERAL).neg[:, :, *np.array(NEURONS).T]
    assert_close(neg, paper.neg(), budget=2e-3, relative_to=np.abs(neg).max())


def test_path_gradients_at_one_scale_are_gradients(engine):
    found = engine.path_gradients(PROMPTS, TARGETS, [1.0], **SEVERAL)
    plain = engine.gradients(PROMPTS, TARGETS, **SEVERAL)
    assert_close(found.cg, plain.cg, budget=1e-6, relative_to=np.abs(plain.cg).max())


def test_files_and_parts_of_results(engine, tmp_path):
    found = engine.sweep(PROMPTS, TARGETS, NEURONS, SHIFTS, **SEVERAL)
    found.save(tmp_path / "sweep")
    again = Sweep.load(tmp_path / "sweep")
    assert again.target_tokens == found.target_tokens
    np.testing.assert_array_equal(again.token_logprob_shift, found.token_logprob_shift)
    assert found[1].target_tokens == found.target_tokens[1:]
    kept = engine.sweep(PROMPTS, TARGETS, NEURONS, SHIFTS, folder=tmp_path / "kept", **SEVERAL)
    np.testing.assert_array_equal(kept.token_logprob_shift, found.token_logprob_shift)
    shifts = [Intervention(NEURONS, [1.0, 2.0]), Intervention([[1, 1]], [3.0])]
    done = engine.intervene(PROMPTS, TARGETS, shifts, **SEVERAL)
    assert done.token_logprob_shift.shape[:2] == (2, 2)
    assert done.predicted.shape == done.logprob_shift.shape
    assert len(done.top_answers(2)) == 2
    done.save(tmp_path / "done")
    assert Interventions.load(tmp_path / "done").target_tokens == found.target_tokens


def test_the_price_counts_every_answer(engine):
    one = engine.plan(PROMPTS, ["Paris", "Rome"], NEURONS, SHIFTS, calibrate=False)
    K = [["Reykjavik", "Rome"], ["Paris", "Tokyo"]]
    several = engine.plan(PROMPTS, K, NEURONS, SHIFTS, calibrate=False, **SEVERAL)
    assert several.rows == 2 * one.rows
    assert several.flops > 2 * one.flops
    assert engine.plan(PROMPTS, K, NEURONS, SHIFTS, **SEVERAL).seconds > 0


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        ("Reykjavik", {}, "target_tokens='first' or 'all'"),
        ("Reykjavik", {"target_tokens": "some"}, "target_tokens 'some' is unknown"),
        ("  ", SEVERAL, "is empty"),
        ([[]], SEVERAL, "is empty"),
        ([[5, 9999]], SEVERAL, "outside the vocabulary"),
        (" ".join(["Paris"] * 40), SEVERAL, r"prompt 0 has .* but the model allows 40"),
        ([[3, 4], 5], {}, "is 2 token ids"),
    ],
)
def test_what_is_refused(engine, target, options, message):
    with pytest.raises(ValueError, match=message):
        engine.sweep(PROMPTS[:1], [target], NEURONS, SHIFTS, **options)


def test_a_target_that_changes_the_prompts_own_tokens_is_refused():
    tokenizer = sentence_piece_like()
    engine = Engine(build("llama", vocab_size=len(tokenizer)), tokenizer)
    text = "The capital of France is"
    own = tokenizer(text)["input_ids"]
    joined = next(
        (text[:n], text[n:])
        for n in range(len(text) - 1, 4, -1)
        if tokenizer(text[:n])["input_ids"] != own[: len(tokenizer(text[:n])["input_ids"])]
    )
    with pytest.raises(ValueError, match="other tokens after the prompt than alone"):
        engine.sweep([joined[0]], [joined[1]], NEURONS, SHIFTS, target_prefix="", **SEVERAL)


def test_questions_of_one_token_say_so(engine):
    with pytest.raises(NotImplementedError, match="target_tokens='first'"):
        engine.direct_effects(PROMPTS, TARGETS, **SEVERAL)
    with pytest.raises(NotImplementedError, match="target_tokens='first'"):
        engine.sweep(PROMPTS, TARGETS, NEURONS, SHIFTS, metrics=["kl"], **SEVERAL)
    with pytest.raises(NotImplementedError, match="target_tokens='first'"):
        engine.patch(PROMPTS, PROMPTS, TARGETS, **SEVERAL)
