"""Delta and suffix against full over sizes, prompts and requests drawn at random."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from small_models import NAMES, build

from negkernel import Engine, Intervention
from negkernel.testing.compare import assert_close
from negkernel.testing.exact import exact_float64

BUDGET = 1e-9  # of the largest shift; the bound
deterministic = settings(derandomize=True, deadline=None, database=None, print_blob=False)

SITES = st.sampled_from(["up", "gate", "post"])
AXES = st.sampled_from(["magnitude", "signed", "scale", "value"])


@st.composite
def models(draw):
    """Small models: head counts that divide, even head sizes, everything else ragged."""
    kv_heads = draw(st.sampled_from([1, 2, 3]))
    heads = kv_heads * draw(st.sampled_from([1, 2, 3]))
    name = draw(st.sampled_from([name for name in NAMES if name != "llama-longrope"]))
    sizes = {
        "num_key_value_heads": kv_heads,
        "num_attention_heads": heads,
        "head_dim": draw(st.sampled_from([4, 6, 10])),
        "hidden_size": heads * draw(st.integers(4, 15)),  # a multiple, or configs refuse
        "intermediate_size": draw(st.integers(1, 50)),
        "num_hidden_layers": draw(st.integers(1, 4)),
        "vocab_size": draw(st.sampled_from([13, 67, 128])),
    }
    return build(name, seed=draw(st.integers(0, 99)), **sizes)


@st.composite
def requests(draw, config):
    """Prompts of different lengths over few tokens, so that beginnings are often shared."""
    P, K = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    prompts = draw(
        st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=20), min_size=P, max_size=P)
    )
    target = st.integers(0, config.vocab_size - 1)
    targets = draw(st.lists(st.lists(target, min_size=K, max_size=K), min_size=P, max_size=P))
    return prompts, targets


def neuron_lists(config, max_size):
    neuron = st.tuples(
        st.integers(0, config.num_hidden_layers - 1), st.integers(0, config.intermediate_size - 1)
    )
    return st.lists(neuron, min_size=1, max_size=max_size, unique=True)


SHIFTS = st.floats(-5, 5, width=32)


def agree(actual, truth, what):
    assert np.isfinite(truth).all()
    # Whole forwards round log-probs of a few nats: 1e-13 where no shift does anything.
    largest = max(float(np.abs(truth).max()), 1e-4)
    assert_close(actual, truth, budget=BUDGET, relative_to=largest, what=what)


@settings(deterministic, max_examples=25)
@given(data=st.data())
def test_sweep(data):
    model = data.draw(models())
    prompts, targets = data.draw(requests(model.config))
    neurons = np.array(data.draw(neuron_lists(model.config, 5)))
    shifts = np.array(data.draw(st.lists(SHIFTS, min_size=1, max_size=4)))
    options = {"site": data.draw(SITES), "axis": data.draw(AXES)}
    engine = Engine(model)
    with exact_float64(model):
        truth = engine.sweep(prompts, targets, neurons, shifts, method="full", **options)
        for method in ("delta", "suffix"):
            sweep = engine.sweep(prompts, targets, neurons, shifts, method=method, **options)
            agree(sweep.logprob_shift, truth.logprob_shift, f"{method} {options}")


@settings(deterministic, max_examples=25)
@given(data=st.data())
def test_interventions_of_several_layers(data):
    model = data.draw(models())
    prompts, targets = data.draw(requests(model.config))
    interventions = []
    for _ in range(data.draw(st.integers(1, 4))):
        neurons = data.draw(neuron_lists(model.config, 12))
        amounts = data.draw(st.lists(SHIFTS, min_size=len(neurons), max_size=len(neurons)))
        interventions.append(
            Intervention(neurons, amounts, axis=data.draw(AXES), site=data.draw(SITES))
        )
    engine = Engine(model)
    with exact_float64(model):
        truth = engine.intervene(prompts, targets, interventions, method="full")
        for method in ("delta", "suffix"):
            result = engine.intervene(prompts, targets, interventions, method=method)
            agree(result.logprob_shift, truth.logprob_shift, method)


@settings(deterministic, max_examples=15)
@given(data=st.data())
def test_gradients(data):
    model = data.draw(models())
    prompts, targets = data.draw(requests(model.config))
    site = data.draw(SITES)
    engine = Engine(model)
    with exact_float64(model):
        truth = engine.gradients(prompts, targets, site=site, method="full")
        delta = engine.gradients(prompts, targets, site=site, method="delta")
    agree(delta.cg, truth.cg, f"gradient of {site}")
    assert_close(delta.prob, truth.prob, budget=1e-12)
    assert_close(delta.activation, truth.activation, budget=1e-11)
