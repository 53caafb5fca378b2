"""Method "generic": architectures without a family, against plain forwards with hooks."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM

from negkernel import Engine
from negkernel.testing.compare import assert_close
from negkernel.testing.exact import exact_float64

SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 101,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
EXPERTS = {"num_experts_per_tok": 2, "moe_intermediate_size": 24}
LATENT = {"q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8}
MODELS = {
    "mixtral": {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 4},
    "qwen3_moe": {"num_experts": 4, "head_dim": 8, **EXPERTS},
    "gpt_oss": {"num_local_experts": 4, "head_dim": 8, "sliding_window": 5, **EXPERTS},
    "deepseek_v3": {
        "n_routed_experts": 4,
        "n_shared_experts": 1,
        "first_k_dense_replace": 1,
        "n_group": 2,
        "topk_group": 1,
        "v_head_dim": 8,
        "num_key_value_heads": 4,
        **LATENT,
        **EXPERTS,
    },
    "cohere2": {"sliding_window": 4},
    "glm4": {"head_dim": 8},
    "starcoder2": {},
    "llama": {},
    "electra": {"embedding_size": 32},
}
PROMPTS = [[5, 9, 3, 17, 22, 8, 4], [3, 9], [11, 3, 12, 13, 14, 15, 16, 17, 18, 19, 20]]
TARGETS = [[7, 80], [8, 81], [9, 82]]
NEURONS = np.array([[0, 1], [1, 5], [2, 7], [1, 20]])
SHIFTS = np.array([-2.0, 1e-6, 0.5, 20.0])


class MaskToken:
    mask_token_id = 3
    all_special_ids = (3,)

    def decode(self, ids):
        return str(ids)


def build(name, dtype=torch.float64):
    torch.manual_seed(0)
    config = AutoConfig.for_model(name, **SIZES | MODELS[name])
    kind = AutoModelForMaskedLM if name == "electra" else AutoModelForCausalLM
    model = kind.from_config(config)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.mul_(4)  # shifts of 2 then move log-probs by whole nats
    model = model.to(dtype).eval()
    if hasattr(model, "set_experts_implementation"):
        model.set_experts_implementation("eager")  # the grouped one has no float64
    return model


def engine_of(name, dtype=torch.float64):
    return Engine(build(name, dtype), MaskToken() if name == "electra" else None)


@pytest.mark.parametrize("position", [None, -1, "all"])
@pytest.mark.parametrize("name", MODELS)
def test_rows_are_those_of_plain_forwards(name, position):
    engine = engine_of(name)
    asked = (PROMPTS, TARGETS, NEURONS, SHIFTS)
    found = engine.sweep(*asked, method="generic", position=position)
    if name == "gpt_oss":  # its sinks are not in the exact oracle's attention
        truth = engine.sweep(*asked, method="full", position=position)
    else:
        with exact_float64(engine.model):
            truth = engine.sweep(*asked, method="full", position=position)
    # Routers and some norms of these models compute in float32 whatever they are given.
    rounded = name in ("mixtral", "qwen3_moe", "gpt_oss", "deepseek_v3", "cohere2")
    budget = 1e-6 if rounded else 1e-12
    for got, want in zip(found.logprob_shift, truth.logprob_shift, strict=True):
        assert_close(got, want, budget=budget * np.abs(want).max())
    assert not engine.explain()["computed twice"]


@pytest.mark.parametrize("name", ["mixtral", "cohere2", "glm4", "starcoder2", "electra"])
def test_auto_takes_it_and_half_precision_keeps_small_effects(name, caplog):
    half = engine_of(name, torch.bfloat16)
    wide = engine_of(name)
    wide.model.load_state_dict(half.model.double().state_dict())
    half.model.to(torch.bfloat16)
    asked = (PROMPTS, TARGETS, NEURONS, SHIFTS[:3])
    with caplog.at_level(logging.INFO, logger="negkernel"):
        found = half.sweep(*asked)
    assert found.method == "generic"
    truth = wide.sweep(*asked, method="full").logprob_shift
    other = half.sweep(*asked, method="full").logprob_shift
    off, plain = np.abs(found.logprob_shift - truth).max(), np.abs(other - truth).max()
    assert off <= 1e-3 * np.abs(truth).max()
    assert off <= 0.05 * plain


@pytest.mark.parametrize("name", ["glm4", "starcoder2", "electra"])
def test_gradients_are_those_of_the_graph(name):
    engine = engine_of(name)
    for position in (None, "all"):
        found = engine.gradients(PROMPTS, TARGETS, method="generic", position=position)
        truth = engine.gradients(PROMPTS, TARGETS, method="full", position=position)
        assert_close(found.cg, truth.cg, budget=1e-6 * np.abs(truth.cg).max())


def test_spectral_curves_are_those_of_the_grid():
    engine = engine_of("starcoder2")
    grid = np.linspace(-2, 2, 9)
    found = engine.sweep(PROMPTS, TARGETS, NEURONS, grid, resolution="spectral", method="generic")
    truth = engine.sweep(PROMPTS, TARGETS, NEURONS, grid, method="full")
    assert (
        np.abs(found.logprob_shift - truth.logprob_shift).max(-1) <= 2 * found.error + 1e-9
    ).all()


def test_the_model_comes_back_as_it_was():
    engine = engine_of("mixtral")
    before = dict(engine.model.named_modules())
    hooks = [len(one._forward_hooks) for one in before.values()]
    ids = torch.tensor([PROMPTS[0]])
    logits = engine.model(ids).logits
    engine.sweep(PROMPTS, TARGETS, NEURONS, SHIFTS, method="generic")
    assert [len(one._forward_hooks) for one in before.values()] == hooks
    assert all("forward" not in vars(one) for one in before.values())
    assert engine.model(ids).logits.equal(logits)


def test_a_forward_that_branches_on_numbers_is_left_to_the_next_method():
    engine = engine_of("starcoder2")
    own = engine.model.model.norm.forward

    def branching(x):
        return own(x) if float(x.abs().max()) > 0 else x

    engine.model.model.norm.forward = branching
    with pytest.raises(NotImplementedError, match="differ between rows"):
        engine.sweep(PROMPTS, TARGETS, NEURONS, SHIFTS, method="generic")
    assert engine.sweep(PROMPTS, TARGETS, NEURONS, SHIFTS).method == "suffix"
