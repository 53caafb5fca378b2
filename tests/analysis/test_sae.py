"""Autoencoders as directions, and directions beside neurons."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from neurgrad import demo, sae
from neurgrad.analysis import directions as study

H, F = 24, 10
W_DEC = torch.randn(F, H, generator=torch.Generator().manual_seed(0))


def weights():
    return {
        "W_enc": W_DEC.t().contiguous(),
        "b_enc": torch.zeros(F),
        "W_dec": W_DEC,
        "b_dec": torch.zeros(H),
    }


def folder(path, config, tensors=None, name="sae_weights.safetensors"):
    path.mkdir(exist_ok=True)
    (path / "cfg.json").write_text(json.dumps(config))
    save_file(weights() if tensors is None else tensors, path / name)
    return path


def config(hook, **more):
    return {"d_in": H, "d_sae": F, "hook_name": hook, **more}


@pytest.mark.parametrize(
    ("settings", "layer", "at"),
    [
        (config("blocks.3.hook_resid_post", hook_layer=3), 3, "residual"),
        (config("blocks.3.hook_resid_pre", hook_layer=3), 2, "residual"),
        (config("blocks.0.hook_mlp_out"), 0, "mlp_out"),
        (config("blocks.5.hook_attn_out", normalize_activations="none"), 5, "attention_out"),
        ({"hook_point": "hook_resid_post", "hook_point_layer": 4, "d_in": H}, 4, "residual"),
        ({"d_in": H, "metadata": {"hook_name": "model.layers.7"}}, 7, "residual"),
        ({"metadata": {"hook_name": "model.layers.7.mlp"}}, 7, "mlp_out"),
        ({"metadata": {"hook_name": "model.layers.7.self_attn.o_proj"}}, 7, "attention_out"),
    ],
)
def test_folders_and_objects(tmp_path, settings, layer, at):
    given = [folder(tmp_path / "sae", settings), str(tmp_path / "sae")]
    nested = settings | {"metadata": SimpleNamespace(**settings.get("metadata", {}))}
    given.append(SimpleNamespace(W_dec=torch.nn.Parameter(W_DEC), cfg=SimpleNamespace(**nested)))
    given.append(SimpleNamespace(W_dec=W_DEC.numpy(), cfg=settings))
    for source in given:
        found = sae.directions(source, [2, 7])
        np.testing.assert_array_equal(found.vectors, W_DEC[[2, 7]].double())
        assert (found.layers.tolist(), found.at) == ([layer, layer], at)
    assert len(sae.directions(tmp_path / "sae")) == F


POST = "blocks.1.hook_resid_post"


@pytest.mark.parametrize(
    ("settings", "features", "message"),
    [
        (config("blocks.1.attn.hook_z"), [0], "'blocks.1.attn.hook_z', which is no place"),
        (config("model.layers.1.self_attn.q_proj"), [0], "is no place of directions"),
        (config("blocks.0.hook_resid_pre"), [0], "the embeddings"),
        (config("hook_resid_post"), [0], "is no place of directions"),
        ({"d_in": H}, [0], "has no hook_name"),
        (config(POST, hook_head_index=2), [0], "no place of directions"),
        (config(POST, normalize_activations="layer_norm"), [0], "rescales its input"),
        (config("blocks.1.hook_mlp_out", model_name="gemma-2-2b"), [0], "behind the norm"),
        (config(POST, d_in=H + 1), [0], r"has shape \[10, 24\]; expected \[features, 25\]"),
        (config(POST), [0, F], "feature 10 is out of range; expected 0 <= feature < 10"),
        (config(POST), [-1], "feature -1 is out of range"),
    ],
)
def test_refusals(tmp_path, settings, features, message):
    source = folder(tmp_path / "sae", settings)
    with pytest.raises(ValueError, match=message) as raised:
        sae.directions(source, features)
    assert "\n" not in str(raised.value)


def test_broken_folders(tmp_path):
    with pytest.raises(ValueError, match="holds no autoencoder"):
        sae.directions(tmp_path, [0])
    empty = folder(tmp_path / "a", config(POST), {"W_enc": W_DEC})
    with pytest.raises(ValueError, match="has no tensor 'W_dec'"):
        sae.directions(empty, [0])
    cut = folder(tmp_path / "b", config(POST))
    data = (cut / "sae_weights.safetensors").read_bytes()
    (cut / "sae_weights.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match="is no whole safetensors file"):
        sae.directions(cut, [0])
    (cut / "sae_weights.safetensors").unlink()
    with pytest.raises(ValueError, match="holds 0 safetensors files"):
        sae.directions(cut, [0])
    with pytest.raises(ValueError, match="is no autoencoder"):
        sae.directions(3, [0])


@pytest.fixture(scope="module")
def engine():
    return demo.load("causal")


def test_another_width(engine):
    settings = config(POST)
    given = sae.directions(SimpleNamespace(W_dec=W_DEC, cfg=settings), [0])
    with pytest.raises(ValueError, match="directions have 24 numbers each"):
        engine.sweep(["The capital of France is"], ["Paris"], given, [1.0])


def test_beside_neurons(engine):
    hidden = engine.model.config.hidden_size
    vectors = np.random.default_rng(0).normal(size=(12, hidden))
    features = SimpleNamespace(W_dec=vectors, cfg=config("blocks.2.hook_resid_post", d_in=hidden))
    given = sae.directions(features)
    asked = ["The capital of France is", "The capital of Japan is"], ["Paris", "Tokyo"]
    frame = study.beside_neurons(engine, *asked, given, n_neurons=10, radius=0.5)
    assert frame.groupby("kind").size().to_dict() == {"directions": 24, "neurons": 20}
    assert set(frame["layer"]) == {2}
    own = frame[frame["kind"] == "directions"]
    unit = own["unit"].iloc[0]
    # Curves over so little are nearly straight: NEG is the gradient, in the same unit.
    tiny = study.beside_neurons(engine, *asked, given, n_neurons=10, radius=1e-3)
    np.testing.assert_allclose(tiny["neg"], tiny["gradient"], rtol=0.02, atol=1e-6)
    plain = engine.sweep(*asked, given, [-1e-3 * unit, 1e-3 * unit]).neg() * unit
    np.testing.assert_allclose(own["gradient"], plain.ravel(), rtol=0.02, atol=1e-6)

    top = study.top_together(engine, *asked, given, counts=(1, 4, 1000), shifts=(0.01, 0.02))
    assert sorted(top["k"].unique()) == [1, 4]
    np.testing.assert_allclose(top["prob_shift"], top["predicted"], rtol=0.2)
    assert (top["prob_shift"] > 0).all()
    assert len(study.draw(top).axes) == 2
