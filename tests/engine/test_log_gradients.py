"""Gradients of log p: those of p without its factor, where p is ordinary and where it is not."""

import numpy as np
import pytest
import torch

from negkernel import Gradients
from negkernel.testing.compare import assert_close
from neurgrad import demo

# Float32 sums of some hundred terms, relative to the largest gradient, through a norm whose gain
# is 40 times what the model was trained with.
FLOAT32 = 1e-3


def asked(kind):
    table = demo.prompts(kind).sample(3, random_state=4)
    return table["prompt"].tolist(), table["answer"].tolist()


@pytest.mark.parametrize("method", ["delta", "full"])
@pytest.mark.parametrize("kind", ["causal", "masked"])
def test_a_factor_of_p(kind, method):
    engine = demo.load(kind)
    engine.model.double()
    plain = engine.gradients(*asked(kind), method=method)
    logs = engine.gradients(*asked(kind), method=method, log=True)
    expected = plain.cg / plain.prob[:, None, None]
    # transformers' norms are float32 also in a float64 model
    budget = 1e-12 if method == "delta" else 1e-6
    assert_close(logs.cg, expected, budget=budget, relative_to=np.abs(expected).max())
    np.testing.assert_array_equal(logs.prob, plain.prob)
    assert logs.log
    assert not plain.log


@pytest.fixture(scope="module", params=["causal", "masked"])
def improbable(request):
    """A float32 engine with logits so large that p leaves the range of float32, and targets."""
    engine = demo.load(request.param)
    model = engine.model
    head_norm = model.model.norm if request.param == "causal" else model.cls.predictions.transform
    head_norm = getattr(head_norm, "LayerNorm", head_norm)
    with torch.no_grad():
        head_norm.weight *= 40
    prompts = asked(request.param)[0]
    ranks = engine.rank(prompts, [list(range(model.config.vocab_size))] * len(prompts))
    last = [int(np.argmax(rank)) for rank in ranks]
    return engine, prompts, last


def test_sign_and_order_survive_where_p_is_no_number(improbable):
    engine, prompts, targets = improbable
    found = engine.gradients(prompts, targets, log=True)
    assert (found.prob < 1e-30).all()
    assert (engine.gradients(prompts, targets).cg == 0).mean() > 0.1  # what log is for
    engine.model.double()
    truth = engine.gradients(prompts, targets, log=True)
    engine.model.float()
    largest = np.abs(truth.cg).max()
    assert_close(found.cg, truth.cg, budget=FLOAT32, relative_to=largest)
    strong = np.abs(truth.cg) > 2 * FLOAT32 * largest
    assert strong.mean() > 0.3
    np.testing.assert_array_equal(np.sign(found.cg[strong]), np.sign(truth.cg[strong]))
    neurons, _ = found.top(5)
    expected, _ = truth.top(5)
    np.testing.assert_array_equal(neurons, expected)


def test_spectral_sweeps_of_an_improbable_target_start_from_the_right_slope(improbable):
    engine, prompts, targets = improbable
    neurons, shifts = [[0, 5], [1, 9], [3, 17]], np.linspace(-0.2, 0.2, 101)
    spectral = engine.sweep(prompts, targets, neurons, shifts, resolution="spectral")
    grid = engine.sweep(prompts, targets, neurons, shifts)
    largest = np.abs(grid.logprob_shift).max(-1)
    off = np.abs(spectral.logprob_shift - grid.logprob_shift).max(-1)
    assert (off <= 1e-3 * largest).all()
    assert spectral.rows <= 6 * len(neurons) * len(prompts)


def test_the_kind_of_gradient_is_saved(tmp_path):
    engine = demo.load("causal")
    engine.gradients(*asked("causal"), log=True).save(tmp_path / "gradients")
    assert Gradients.load(tmp_path / "gradients").log
