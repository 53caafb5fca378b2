"""Results in a session: indexing, notebooks, files, predictions, what is answered instead."""

import copy
import html
import pickle

import numpy as np
import pytest
import torch

from negkernel import (
    Engine,
    Gradients,
    Intervention,
    Interventions,
    NegMap,
    Sweep,
    __version__,
)
from neurgrad import attribution, demo

PROMPTS = ["The capital of France is", "The capital of Italy is", "The capital of Spain is"]
TARGETS = ["Paris", "Rome", "Madrid"]
SEVERAL = [["Paris", "Rome"], ["Rome", "Paris"], ["Madrid", "Rome"]]
PAIR = Intervention([[0, 6], [2, 21]], [0.5, -0.25])


@pytest.fixture(scope="module")
def engine() -> Engine:
    return demo.load("causal")


@pytest.fixture(scope="module", params=[TARGETS, SEVERAL], ids=["one target", "several targets"])
def results(request: pytest.FixtureRequest, engine: Engine) -> list:
    asked = PROMPTS, request.param
    per_prompt = np.arange(12).reshape(3, 2, 2) % 5
    return [
        engine.sweep(*asked, [[0, 6], [2, 21]], [-1.0, 1.0], metrics=["rank", "kl"]),
        engine.sweep(*asked, per_prompt, [-1.0, 0.5, 1.0], resolution="spectral"),
        engine.gradients(*asked),
        engine.intervene(*asked, [PAIR, Intervention([[1, 2]], [1.0])]),
        engine.neg_map(*asked, radius=1.0, progress=False),
        engine.patch(*asked[:1], PROMPTS[::-1], asked[1], [[0, 6], [2, 21]]),
    ]


def test_a_part_of_a_result_is_the_result_of_a_part(results: list, engine: Engine):
    for result in results:
        assert len(result) == 3
        parts = [result[0], result[1:], result[[2, 0]], result[-1], result[np.array([True] * 3)]]
        for part, index in zip(parts, ([0], [1, 2], [2, 0], [2], [0, 1, 2]), strict=True):
            assert type(part) is type(result)
            assert part.prompts == [PROMPTS[i] for i in index]
            for name, axes in result.array_axes().items():
                whole, chosen = getattr(result, name), getattr(part, name)
                np.testing.assert_array_equal(
                    chosen, whole[index] if axes.startswith("P") else whole
                )
            frame = result.to_frame()
            own = frame[frame["prompt_index"].isin(index)]
            assert len(part.to_frame()) == len(own)
        assert [one.prompts[0] for one in result] == PROMPTS
        for wrong in (3, -4, "x", 1.5, None, [], [5], slice(2, 1), ..., np.eye(2)):
            with pytest.raises(IndexError, match=r"expected some of the 3"):
                result[wrong]
    sweep = results[0]
    alone = engine.sweep(PROMPTS[1:2], [sweep.targets[1]], sweep.neurons, sweep.shifts)
    assert sweep[1].rows == alone.rows
    np.testing.assert_allclose(sweep[1].neg(), alone.neg(), rtol=1e-5)


def test_a_notebook_shows_the_first_rows(results: list, engine: Engine):
    for result in results:
        shown = result._repr_html_()
        assert html.escape(repr(result)) in shown
        assert PROMPTS[0] in shown
        assert shown.count("<tr") <= 14
    naughty = engine.gradients(["<script>alert(1)</script> is"], ["Paris"])
    assert "<script>" not in naughty._repr_html_()


def test_files_say_which_version_made_them_and_equal_results_are_equal_files(
    results: list, tmp_path, monkeypatch: pytest.MonkeyPatch
):
    for result in results:
        monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
        result.save(tmp_path / "a")
        result.save(tmp_path / "b")
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
        again = type(result).load(tmp_path / "a")
        assert (again.version, again.created) == (__version__, None)
        monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
        result.save(tmp_path / "a")
        dated = type(result).load(tmp_path / "a")
        assert dated.created == "2023-11-14T22:13:20+00:00"
        monkeypatch.delenv("SOURCE_DATE_EPOCH")
        dated.save(tmp_path / "b")
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_top_by_sign_and_by_score(engine: Engine):
    for targets in (TARGETS, SEVERAL):
        gradients = engine.gradients(PROMPTS, targets)
        scores = {
            "neurgrad": gradients.neurgrad(),
            "activation_gradient": attribution.activation_gradient(engine, PROMPTS, targets),
        }
        for by, score in scores.items():
            flat = score.reshape(*score.shape[:-2], -1)
            for sign, size in ((None, np.abs(flat)), ("+", flat), ("-", -flat)):
                neurons, found = gradients.top(7, sign, by)
                largest = -np.sort(-size, axis=-1)[..., :7]
                np.testing.assert_array_equal(np.abs(found), largest)
                if sign is not None:
                    assert (np.sign(found) == (1 if sign == "+" else -1)).all()
                at = np.take_along_axis(flat, neurons[..., 0] * 256 + neurons[..., 1], -1)
                np.testing.assert_array_equal(at, found)
    with pytest.raises(ValueError, match=r"only \d+ neurons whose neurgrad has the sign '\+'"):
        gradients.top(5 * 256, "+")
    for wrong in ({"sign": "plus"}, {"sign": 1}, {"by": "cg"}, {"by": None}):
        with pytest.raises(ValueError, match="expected"):
            gradients.top(3, **wrong)


def test_the_ten_that_hold_a_fact_up_lower_it_when_they_are_silenced(engine: Engine):
    neurons, _ = engine.gradients(PROMPTS, TARGETS).top(10, "+", "activation_gradient")
    silenced = [[Intervention(own, np.zeros(10), axis="value")] for own in neurons]
    result = engine.intervene(PROMPTS, TARGETS, silenced)
    assert (result.prob_shift() < 0).all()
    assert (result.predicted < 0).all()


@pytest.mark.parametrize("axis", ["magnitude", "signed", "scale", "value"])
@pytest.mark.parametrize("model", ["causal", "masked"])
def test_predictions_are_the_first_order_of_what_happens(axis: str, model: str):
    engine = demo.load(model)  # type: ignore[arg-type]
    facts = demo.prompts(model).sample(2, random_state=0)  # type: ignore[arg-type]
    prompts, answers = facts["prompt"].tolist(), facts["answer"].tolist()
    gradients = engine.gradients(prompts, answers)
    neurons = gradients.top(3)[0][0]
    small = 1e-3 * np.array([1.0, -0.5, 0.25])
    if axis == "value":
        small = gradients.activation[0][tuple(neurons.T)] + small
    one = Intervention(neurons, small, axis=axis, signs="running")
    result = engine.intervene(prompts, answers, [one])
    rows = [0] if axis == "value" else [0, 1]
    np.testing.assert_allclose(result.predicted[rows], result.prob_shift()[rows], rtol=0.02)
    np.testing.assert_array_equal(gradients.predict(one), result.predicted[:, 0])


def test_predictions_with_several_targets_and_sites(engine: Engine):
    mixed = [PAIR, Intervention([[1, 2]], [0.1], site="post"), Intervention([[1, 2]], [0.1])]
    result = engine.intervene(PROMPTS, SEVERAL, mixed)
    assert result.predicted.shape == result.prob_shift().shape == (3, 2, 3)
    posts = engine.gradients(PROMPTS, SEVERAL, site="post")
    np.testing.assert_array_equal(result.predicted[..., 1], posts.predict(mixed[1]))
    ups = engine.gradients(PROMPTS, SEVERAL, site="up")
    np.testing.assert_array_equal(result.predicted[..., 2], ups.predict(mixed[2]))
    with pytest.raises(ValueError, match=r"at the site 'paper'.*expected 'post'"):
        posts.predict(mixed[2])
    with pytest.raises(IndexError, match=r"no neuron \(9, 0\)"):
        ups.predict(Intervention([[9, 0]], [1.0]))
    with pytest.raises(TypeError, match=r"expected a negkernel\.Intervention"):
        ups.predict([[0, 1]])  # type: ignore[arg-type]


@pytest.mark.parametrize("model", ["causal", "masked"])
def test_what_is_answered_instead_is_the_distribution_of_a_plain_forward(model: str):
    engine = demo.load(model)  # type: ignore[arg-type]
    facts = demo.prompts(model).sample(2, random_state=0)  # type: ignore[arg-type]
    prompts, answers = facts["prompt"].tolist(), facts["answer"].tolist()
    strong = engine.gradients(prompts, answers).top(4)[0][0]
    layer, index = (int(i) for i in strong[0])
    some = [
        Intervention([[layer, index]], [-3.0], axis="scale", site="post"),
        Intervention(strong, np.full(4, 5.0)),
    ]
    result = engine.intervene(prompts, answers, some)
    found = result.top_answers(3)
    own = result.base_logprob[:, None] + result.logprob_shift
    for p, answer in enumerate(answers):
        for r in range(2):
            assert len(found[p][r]) == 3
            assert found[p][r][0][1] >= np.exp(own[p, r]) - 1e-6
            said = {text.strip(): prob for text, prob in found[p][r]}
            if answer in said:
                assert said[answer] == pytest.approx(np.exp(own[p, r]), rel=1e-4)
    whole = result.top_answers(engine.model.config.vocab_size)
    assert sum(prob for _, prob in whole[0][0]) == pytest.approx(1, abs=1e-4)
    if model == "masked":
        return

    def hook(module, inputs):
        edited = inputs[0].clone()
        edited[:, -1, index] *= 1 - 3.0
        return (edited,)

    block = engine.model.model.layers[layer].mlp.down_proj
    handle = block.register_forward_pre_hook(hook)
    ids = torch.tensor([result.prompt_tokens[0]])
    with torch.no_grad():
        expected = engine.model(ids).logits[0, -1].softmax(0).topk(3)
    handle.remove()
    words = [engine.tokenizer.decode([int(i)]) for i in expected.indices]
    assert [text for text, _ in found[0][0]] == words
    np.testing.assert_allclose([p for _, p in found[0][0]], expected.values, rtol=1e-5)


def test_what_cannot_be_asked_any_more_is_refused(engine: Engine, tmp_path):
    result = engine.intervene(PROMPTS, TARGETS, [PAIR])
    for k in (0, -1, None, 10**9, 1.5, True):
        with pytest.raises(ValueError, match="expected an integer between 1 and"):
            result.top_answers(k)  # type: ignore[arg-type]
    result.save(tmp_path / "file")
    loaded = Interventions.load(tmp_path / "file")
    for part in (loaded, result[1:], copy.deepcopy(result), pickle.loads(pickle.dumps(result))):
        with pytest.raises(ValueError, match=r"call Engine\.intervene again"):
            part.top_answers()
        with pytest.raises(ValueError, match=r"call Engine\.intervene again"):
            _ = part.predicted
    other = demo.load("causal")
    kept = other.intervene(PROMPTS, TARGETS, [PAIR])
    with torch.no_grad():
        other.model.lm_head.weight.mul_(1.5)
    with pytest.raises(ValueError, match="no longer the one that computed"):
        kept.top_answers()
    del other
    with pytest.raises(ValueError, match=r"engine .* is gone"):
        kept.top_answers()


def test_all_kinds_of_results_were_tried(results: list):
    assert {Sweep, Gradients, Interventions, NegMap} <= {type(result) for result in results}
