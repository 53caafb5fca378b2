"""Layers of different widths: every answer has the neurons that there are, and no others."""

import numpy as np
import pytest
import torch
from torch import nn

from bench.coverage import MaskTokenizer
from bench.opponents.plain import Plain
from bench.tiny import build
from negkernel import Engine, Intervention
from neurgrad import attribution

IDS, TARGET, SHIFTS = [11, 45, 23, 5, 90, 31], 17, [-2.0, 0.5, 3.0]
WIDTHS = [48, 29, 48, 40]
METHODS = {"llama": ("delta", "suffix", "full"), "bert": ("delta", "full")}


def narrowed(linear, rows=None, columns=None):
    """A linear layer without its last outputs or inputs."""
    weight = linear.weight.data[:rows, :columns]
    out = nn.Linear(weight.shape[1], weight.shape[0], bias=linear.bias is not None)
    out.weight.data = weight.clone()
    if linear.bias is not None:
        out.bias.data = linear.bias.data[:rows].clone()
    return out


def pruned(model_type):
    """A model of four layers whose feed-forward parts were pruned to ``WIDTHS``."""
    model = build(model_type, "causal" if model_type == "llama" else "masked", {})
    for index, width in enumerate(WIDTHS):
        if model_type == "llama":
            mlp = model.model.layers[index].mlp
            for name in ("gate_proj", "up_proj"):
                setattr(mlp, name, narrowed(getattr(mlp, name), rows=width))
            mlp.down_proj = narrowed(mlp.down_proj, columns=width)
        else:
            layer = model.bert.encoder.layer[index]
            layer.intermediate.dense = narrowed(layer.intermediate.dense, rows=width)
            layer.output.dense = narrowed(layer.output.dense, columns=width)
    return model.eval()


@pytest.fixture(params=["llama", "bert"])
def engine(request):
    return Engine(pruned(request.param), MaskTokenizer())


def methods(engine):
    return METHODS[engine.model.config.model_type]


def position(engine):
    return IDS.index(5) if engine.task == "masked" else len(IDS) - 1


def test_sizes(engine):
    assert engine.widths.tolist() == WIDTHS
    assert engine.n_neurons == 48
    assert engine.neurons.shape == (sum(WIDTHS), 2)
    assert engine.neurons[48 + 29 - 1].tolist() == [1, 28]
    assert engine.neurons[48 + 29].tolist() == [2, 0]


def test_sweep_is_that_of_plain_forwards(engine):
    neurons = [(1, 28), (0, 47), (3, 39)]
    plain = Plain(engine.model, IDS, position(engine))
    places = plain.neurons()
    right = [plain.changes(places[layer], index, SHIFTS, TARGET) for layer, index in neurons]
    for method in methods(engine):
        found = engine.sweep([IDS], [TARGET], neurons, SHIFTS, method=method).logprob_shift[0]
        # float32 forwards of a few thousand parameters
        assert np.abs(found - right).max() < 2e-5 * np.abs(right).max(), method


@pytest.mark.parametrize("neuron", [(1, 29), (1, 47), (3, 40)])
def test_an_index_beyond_the_layer_names_its_width(engine, neuron):
    message = rf"neuron \({neuron[0]}, {neuron[1]}\).*< {WIDTHS[neuron[0]]} in layer {neuron[0]}"
    with pytest.raises(IndexError, match=message):
        engine.sweep([IDS], [TARGET], [neuron], SHIFTS)
    with pytest.raises(IndexError, match=message):
        engine.intervene([IDS], [TARGET], [Intervention([neuron], [1.0])])
    with pytest.raises(IndexError, match=message):
        engine.plan([IDS], [TARGET], [neuron], SHIFTS, calibrate=False)


def there():
    """Which entries [L, I] are neurons."""
    return np.arange(48) < np.array(WIDTHS)[:, None]


@pytest.mark.parametrize("path", [False, True])
def test_gradients_are_nan_where_there_is_no_neuron(engine, path):
    found = {}
    for method in {"delta", "full"}:
        if path and engine.task == "masked" and method == "delta":
            continue
        if path:
            found[method] = engine.path_gradients([IDS], [[TARGET, 3]], [0.0, 1.0], method=method)
        else:
            found[method] = engine.gradients([IDS], [[TARGET, 3]], method=method)
    for one in found.values():
        assert (np.isnan(one.cg) == ~there()).all()
        assert (np.isnan(one.activation) == ~there()).all()
        values = one.cg[..., there()], found["full"].cg[..., there()]
        assert np.abs(values[0] - values[1]).max() < 1e-5 * np.abs(values[1]).max()


def test_tables_and_strongest_neurons_hold_no_missing_ones(engine):
    gradients = engine.gradients([IDS], [TARGET])
    assert len(gradients.to_frame()) == sum(WIDTHS)
    best, scores = gradients.top(sum(WIDTHS))
    assert np.isfinite(scores).all()
    assert sorted(map(tuple, best[0])) == sorted(map(tuple, engine.neurons))
    with pytest.raises(ValueError, match=f"between 1 and {sum(WIDTHS)}"):
        gradients.top(sum(WIDTHS) + 1)


def test_neg_map_has_the_slopes_of_a_sweep(engine, tmp_path):
    found = engine.neg_map([IDS], [TARGET], folder=tmp_path / "map")
    assert (np.isnan(found.neg) == ~there()).all()
    assert len(found.to_frame()) == sum(WIDTHS)
    assert set(np.unique(found.polarity()[0][~there()])) <= {0}
    grid = np.delete(np.linspace(-2, 2, 101), 50)
    sweep = engine.sweep([IDS], [TARGET], [(1, 28), (3, 39)], grid)
    own = found.neg[0][[1, 3], [28, 39]]
    assert np.abs(own - sweep.neg()[0]).max() < 1e-3 * np.abs(sweep.neg()).max()
    again = engine.neg_map([IDS], [TARGET], folder=tmp_path / "map")
    assert np.array_equal(again.neg, found.neg, equal_nan=True)


def test_ablation_of_every_neuron(engine):
    found = attribution.integrated_gradients(engine, [IDS], [TARGET], path="neuron")
    assert (np.isnan(found) == ~there()).all()


def test_mixtures_whose_first_layer_is_dense():
    model = build("qwen3_moe", "causal", {"mlp_only_layers": [0]})
    engine = Engine(model)
    assert engine.widths.tolist() == [48, 96, 96, 96]
    with pytest.raises(IndexError, match="< 48 in layer 0"):
        engine.gradients([IDS], [TARGET]) and engine.sweep([IDS], [TARGET], [(0, 48)], SHIFTS)


def test_random_neurons_exist():
    from neurgrad.analysis.answered import random_neurons

    engine = Engine(pruned("llama"))
    drawn = random_neurons(engine, 3, 1000, seed=0)
    assert drawn.shape == (3, sum(WIDTHS), 2)
    assert torch.from_numpy(drawn[0]).equal(torch.from_numpy(engine.neurons))
