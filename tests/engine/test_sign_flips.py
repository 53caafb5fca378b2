"""Interventions whose earlier shifts bring a later neuron to within 1e-6 of changing sign.

On the magnitude axis a shift follows the sign of the activation as it stands in that row. A row
that used the base's sign, or an activation with float32 noise, would move the other way.
"""

import numpy as np
import pytest
import torch
from small_models import build

from negkernel import Engine, Intervention
from negkernel.testing.compare import assert_close
from negkernel.testing.exact import exact_float64

PROMPT = [1, 5, 6, 7, 9]
EARLY = (0, 3)


@torch.no_grad()
def activations(model, site, amount):
    """Layer 2's neurons at the last token after EARLY has been shifted by ``amount``, signed."""
    seen = {}
    early, late = (model.model.layers[layer].mlp for layer in (EARLY[0], 2))

    def move(module, args, output):
        output[0, -1, EARLY[1]] += amount
        return output

    def keep(module, args, output):
        seen["activation"] = output[0, -1].clone()

    handles = [
        getattr(early, f"{site}_proj").register_forward_hook(move),
        getattr(late, f"{site}_proj").register_forward_hook(keep),
    ]
    try:
        model(torch.tensor([PROMPT]))
    finally:
        for handle in handles:
            handle.remove()
    return seen["activation"]


def tuned(model, site, wanted):
    """A late neuron that EARLY can flip, and the amount that brings it to ``wanted``."""
    low, high = -20.0, 20.0
    flips = activations(model, site, low).sign() * activations(model, site, high).sign() < 0
    neuron = int(flips.nonzero()[0])
    rises = activations(model, site, high)[neuron] > 0
    for _ in range(80):
        middle = (low + high) / 2
        above = activations(model, site, middle)[neuron] > wanted
        low, high = (low, middle) if above == rises else (middle, high)
    return neuron, middle


@pytest.mark.parametrize("site", ["up", "gate"])
@pytest.mark.parametrize("name", ["llama", "qwen2", "qwen3"])
def test_either_side_of_zero(name, site):
    model = build(name)
    engine = Engine(model)
    curves = {}
    with exact_float64(model):
        for side in (1e-6, -1e-6):
            neuron, amount = tuned(model, site, side)
            assert abs(activations(model, site, amount)[neuron] - side) < 1e-9
            # On the magnitude axis the early neuron moves along its own sign.
            base = engine.sweep([PROMPT], [1], [EARLY], [0.0], site=site, method="full")
            early = amount * np.sign(base.activation[0, 0])
            shifts = [
                Intervention([EARLY, (2, neuron)], [early, late], site=site)
                for late in (-3.0, 0.5, 3.0)
            ]
            results = {
                method: engine.intervene([PROMPT], [[1, 50]], shifts, method=method).logprob_shift
                for method in ("full", "suffix", "delta")
            }
            curves[side] = results["full"]
            for method in ("suffix", "delta"):
                assert_close(
                    results[method],
                    results["full"],
                    budget=1e-9,
                    relative_to=np.abs(results["full"]).max(),
                    what=f"{method} at {side}",
                )
    # The two sides move the late neuron in opposite directions: a wrong sign would show.
    turned = curves[-1e-6][..., [2, 1, 0]]
    assert_close(curves[1e-6][..., [0, 2]], turned[..., [0, 2]], budget=1e-4)
    assert np.abs(curves[1e-6] - curves[-1e-6]).max() > 1e-2


def test_an_activation_of_exactly_zero_stays_on_the_magnitude_axis():
    model = build("llama")
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[4] = 0
    engine = Engine(model)
    for method in ("full", "suffix", "delta"):
        still = engine.sweep([PROMPT], [1], [(1, 4)], [-2.0, 2.0], method=method)
        assert (still.activation == 0).all()
        # Whole forwards of one row and of two round differently; the difference form has nothing
        # to round.
        budget = 0 if method == "delta" else 1e-12
        assert (np.abs(still.logprob_shift) <= budget).all(), method
        moved = engine.sweep([PROMPT], [1], [(1, 4)], [-2.0, 2.0], axis="signed", method=method)
        assert (np.abs(moved.logprob_shift) > 1e-4).all(), method
