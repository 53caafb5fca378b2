"""The map of the real model: few rows, and a stated error of NEG that its grid confirms."""

import numpy as np

from negkernel import spectral
from negkernel.results.shards import Shard
from negkernel.sites import Spot

FACT = ["The capital of France is"], ["Paris"]
LAYERS, TOL, CHECKED = (27, 30), 1e-3, 60


def measured(engine):
    """A portion of the map: the last three layers of 1,536 neurons."""
    host = engine._host
    request, runner = host.encode(*FACT), host.method("delta")
    (opened,) = runner.open(request, Spot.of(host.site("paper"), "magnitude"))
    shifts = spectral.paper_grid(2.0, np.float32)
    measure = spectral.Measure(
        [(0, 1)], lambda group: opened, host.widths, shifts, tol=TOL, eps=2.0**-23
    )
    return measure(Shard((0, 1), layers=LAYERS)), shifts


def test_a_portion_takes_few_rows_and_states_its_errors(smollm2):
    found, shifts = measured(smollm2)
    neg, stated = found.curves["neg"][0], found.curves["neg_error"][0]
    median = np.median(np.abs(neg), axis=1, keepdims=True)
    wanted = TOL * np.maximum(np.abs(neg), 0.01 * median)
    assert found.rows.mean() <= 2.4
    assert (stated <= wanted).mean() >= 0.985
    rng = np.random.default_rng(0)
    layer, index = rng.integers(0, 3, CHECKED), rng.integers(0, 1536, CHECKED)
    neurons = np.stack([layer + LAYERS[0], index], axis=1)
    grid = smollm2.sweep(*FACT, neurons, shifts)
    error = np.abs(neg[layer, index] - grid.neg()[0])
    assert (error <= stated[layer, index]).mean() >= 0.98
    assert (error <= 2 * stated[layer, index]).all()
    assert np.abs(found.curves["pearson"][0, layer, index] - grid.pearson()[0]).max() < 2e-3
