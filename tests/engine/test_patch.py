"""A patched neuron has the value of its source and nothing else changes."""

import numpy as np
import pytest
import torch
from small_models import build
from transformers import BertConfig, BertForMaskedLM

from negkernel import Engine, Patches

PROMPTS = [[11, 45, 23, 67, 90, 31], [9, 8, 7, 23, 40]]
SOURCES = [[11, 45, 23, 12, 90, 30], [23, 5, 2, 23, 1, 4, 6]]
TARGETS = [[17, 3], [29, 4]]


class Tokenizer:
    mask_token_id, mask_token, decode = 23, "[MASK]", str


@pytest.fixture(scope="module", params=["llama", "bert", "llama-uneven"])
def engine(request):
    if request.param != "bert":
        model = build("llama", torch.float64)
        if request.param == "llama-uneven":
            mlp = model.model.layers[1].mlp
            for name in ("gate_proj", "up_proj"):
                getattr(mlp, name).weight = torch.nn.Parameter(getattr(mlp, name).weight[:25])
                getattr(mlp, name).out_features = 25
            mlp.down_proj.weight = torch.nn.Parameter(mlp.down_proj.weight[:, :25])
            mlp.down_proj.in_features = 25
        return Engine(model)
    torch.manual_seed(1)
    sizes = {"hidden_size": 32, "intermediate_size": 24, "num_hidden_layers": 2}
    config = BertConfig(vocab_size=101, num_attention_heads=4, initializer_range=0.3, **sizes)
    return Engine(BertForMaskedLM(config).double().eval(), Tokenizer())


def where(engine):
    """Whole prompts, and the mask's index where they have several."""
    masked = engine.task == "masked"
    return {"mask_index": 0} if masked else {}


def probed(engine, tokens):
    return tokens.index(23) if engine.task == "masked" else len(tokens) - 1


def place(engine, layer):
    """Module and whether its input is the neurons."""
    if engine.task == "masked":
        return engine.model.bert.encoder.layer[layer].output.dense, True
    return engine.model.model.layers[layer].mlp.up_proj, False


def forward(engine, tokens, layer, change):
    """Log-probs where ``tokens`` are probed, with ``change(row)`` applied to a layer's neurons."""
    module, is_input = place(engine, layer)
    at = probed(engine, tokens)

    def edit(x):
        x = x.clone()
        change(x[0, at])
        return x

    if is_input:
        handle = module.register_forward_pre_hook(lambda m, args: (edit(args[0]),))
    else:
        handle = module.register_forward_hook(lambda m, args, out: edit(out))
    with torch.no_grad():
        logits = engine.model(input_ids=torch.tensor([tokens])).logits[0, at]
    handle.remove()
    return torch.log_softmax(logits, -1)


def plain(engine, p, layer, index):
    """Value on the prompt and on the source, changes [K]: by three hooked forwards."""
    values = []
    base = forward(engine, PROMPTS[p], layer, lambda row: values.append(row[index].item()))
    forward(engine, SOURCES[p], layer, lambda row: values.append(row[index].item()))
    moved = forward(engine, PROMPTS[p], layer, lambda row: row[index].fill_(values[1]))
    return *values, (moved - base)[TARGETS[p]].numpy()


def test_every_neuron_is_what_plain_forwards_give(engine):
    found = engine.patch(PROMPTS, SOURCES, TARGETS, **where(engine))
    assert found.neurons.tolist() == engine.neurons.tolist()
    assert np.isfinite(found.logprob_shift).all()
    for n in np.random.default_rng(0).choice(len(found.neurons), 12, replace=False):
        for p in range(2):
            own, source, change = plain(engine, p, *found.neurons[n].tolist())
            # transformers rounds norms to float32 even in a float64 model.
            assert found.activation[p, n] == pytest.approx(own, abs=1e-5)
            assert found.source_activation[p, n] == pytest.approx(source, abs=1e-5)
            np.testing.assert_allclose(found.logprob_shift[p, :, n], change, atol=1e-5, rtol=1e-4)
    assert np.abs(found.logprob_shift).max() > 0.01


def test_the_estimate_is_the_difference_times_the_gradient(engine):
    some = engine.neurons[::7]
    found = engine.patch(PROMPTS, SOURCES, TARGETS, some, **where(engine))
    slope = engine.gradients(PROMPTS, TARGETS, log=True, **where(engine)).cg[:, :, *some.T]
    by = (found.source_activation - found.activation)[:, None]
    np.testing.assert_allclose(found.logprob_estimate, slope * by, rtol=1e-6, atol=1e-12)
    prob = np.exp(found.base_logprob)[..., None]
    np.testing.assert_allclose(found.prob_estimate(), prob * found.logprob_estimate)
    np.testing.assert_allclose(found.prob_shift(), prob * np.expm1(found.logprob_shift))


@pytest.mark.parametrize("method", ["delta", "suffix", "full"])
def test_methods_agree(method):
    engine = Engine(build("llama", torch.float64))
    neurons = [[0, 3], [2, 7], [1, 1]]
    right = engine.patch(PROMPTS, SOURCES, TARGETS, neurons)
    found = engine.patch(PROMPTS, SOURCES, TARGETS, neurons, method=method)
    assert found.method == method
    np.testing.assert_allclose(found.logprob_shift, right.logprob_shift, atol=2e-6)
    np.testing.assert_allclose(found.logprob_estimate, right.logprob_estimate, atol=2e-6)


def test_a_source_that_is_the_prompt_changes_nothing(engine):
    found = engine.patch(PROMPTS, PROMPTS, TARGETS, [[0, 1], [1, 2]], **where(engine))
    assert np.abs(found.logprob_shift).max() == 0
    assert np.abs(found.logprob_estimate).max() == 0


def test_tables_files_and_one_target(engine, tmp_path):
    targets = [one[0] for one in TARGETS]
    found = engine.patch(PROMPTS, SOURCES, targets, [[1, 4], [0, 2]], site="post", **where(engine))
    assert found.logprob_shift.shape == (2, 2)
    frame = found.to_frame()
    assert list(frame["layer"]) == [1, 0] * 2
    np.testing.assert_array_equal(frame["logprob_estimate"], found.logprob_estimate.ravel())
    np.testing.assert_array_equal(frame["source_activation"], found.source_activation.ravel())
    found.save(tmp_path / "patches")
    again = Patches.load(tmp_path / "patches")
    np.testing.assert_array_equal(again.logprob_shift, found.logprob_shift)
    assert again.source_tokens == SOURCES
    assert "2 prompts x 2 neurons, site='post'" in repr(again)


def test_an_interrupted_run_goes_on_where_it_was(engine, tmp_path, monkeypatch):
    from negkernel.answers import patch

    monkeypatch.setattr("negkernel.spectral.neg_map.CURVES", 1)  # one layer a portion
    own, done = patch._Measure.__call__, []

    def stopping(measure, p, chosen):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(p)
        return own(measure, p, chosen)

    whole = engine.patch(PROMPTS, SOURCES, TARGETS, **where(engine))
    with monkeypatch.context() as patched:
        patched.setattr(patch._Measure, "__call__", stopping)
        with pytest.raises(KeyboardInterrupt):
            engine.patch(PROMPTS, SOURCES, TARGETS, folder=tmp_path / "kept", **where(engine))
    calls = []
    monkeypatch.setattr(patch._Measure, "__call__", lambda *args: calls.append(args) or own(*args))
    found = engine.patch(PROMPTS, SOURCES, TARGETS, folder=tmp_path / "kept", **where(engine))
    assert len(calls) == 2 * engine.n_layers - 2
    for name in found.array_axes():
        np.testing.assert_array_equal(getattr(found, name), getattr(whole, name))
    with pytest.raises(ValueError, match=r"other|another|differ"):
        engine.patch(PROMPTS, PROMPTS, TARGETS, folder=tmp_path / "kept", **where(engine))


@pytest.mark.parametrize(
    ("sources", "neurons", "message"),
    [
        (SOURCES[:1], None, r"^sources: "),
        ([[200], [3]], None, r"^sources: "),
        (SOURCES, [[[0, 1]], [[0, 2]]], r"expected \[N, 2\], the same"),
        (SOURCES, [[9, 1]], "layer 9"),
        (SOURCES, [], "no neurons given"),
    ],
)
def test_bad_input(sources, neurons, message):
    engine = Engine(build("llama", torch.float32))
    with pytest.raises(ValueError, match=message):
        engine.patch(PROMPTS, sources, TARGETS, neurons)


def test_places_of_other_libraries():
    engine = Engine(build("llama", torch.float32))
    found = engine.patch(PROMPTS, SOURCES, TARGETS, "blocks.1.mlp.hook_post")
    assert found.site == "post"
    assert set(found.neurons[:, 0]) == {1}
