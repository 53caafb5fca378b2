"""Gradients of targets whose probability is all but 1 or all but 0, against plain float64 autograd.

There ``W_t - p W`` and the factor p leave the range of half precision, then of float32. Errors are
relative to the largest gradient of the layer: below it, a neuron's gradient is a sum that cancels.
"""

import numpy as np
import pytest
import torch
from small_models import build, float64_copy, in_dtype
from transformers import Gemma2Config, Gemma2ForCausalLM

from negkernel import Engine
from negkernel.testing.compare import assert_close
from negkernel.testing.exact import exact_float64
from neurgrad import demo

PROMPTS = [[1, 5, 6, 7, 9], [4, 2, 8]]
TOKEN = 17  # made as likely as the test wants
TARGETS = [[TOKEN, 50, 3]] * 2
# What half-precision operands may cost, and what a few layers of float32 do.
HALF, FLOAT32 = 1e-2, 1e-4
OPERANDS = {torch.float32: FLOAT32, torch.bfloat16: HALF, torch.float16: HALF}
# Probabilities by how little is missing to 1, and by themselves.
SURE = [5e-2, 2e-3, 9e-5, 1e-5, 1e-9]
UNLIKELY = [1e-4, 1e-12, 1e-30]


def gemma():
    """A model with soft-caps on scores and logits, as Gemma 2 has them."""
    sizes = {"hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 12}
    caps = {"attn_logit_softcapping": 1.5, "final_logit_softcapping": 80.0}
    torch.manual_seed(0)
    config = Gemma2Config(
        vocab_size=101, **sizes, **heads, **caps, tie_word_embeddings=False, sliding_window=8
    )
    model = Gemma2ForCausalLM(config)
    for key, parameter in model.named_parameters():
        parameter.data = torch.randn(parameter.shape).mul_(
            0.0 if key.endswith("norm.weight") else 0.2
        )
    return in_dtype(model, torch.float32).eval()


MODELS = {"llama": lambda: build("llama", torch.float32), "gemma2": gemma}


@torch.no_grad()
def engineered(name, odds):
    """A float32 model in which TOKEN has ``odds`` against all others, for each prompt."""
    model = MODELS[name]()
    states = []
    catch = model.lm_head.register_forward_pre_hook(lambda _, args: states.append(args[0][0, -1]))
    logits = [model(torch.tensor([ids])).logits[0, -1] for ids in PROMPTS]
    catch.remove()
    rows, wanted = torch.stack(states).double(), []
    for z in logits:
        others = torch.cat([z[:TOKEN], z[TOKEN + 1 :]]).double()
        z_token = torch.logsumexp(others, 0) + np.log(odds)
        cap = model.config.final_logit_softcapping if name == "gemma2" else None
        wanted.append(z_token if cap is None else cap * torch.atanh(z_token / cap))
    model.lm_head.weight[TOKEN] = torch.linalg.pinv(rows) @ torch.stack(wanted)
    return model


def down_projections(model):
    if hasattr(model, "bert"):
        return [layer.output.dense for layer in model.bert.encoder.layer]
    return [layer.mlp.down_proj for layer in model.model.layers]


def truth(model, tokens, positions, targets, *, log=False, scales=None):
    """Gradients [P, K, L, I] of p or log p in the input of every down projection, by autograd.

    With ``scales``, their mean over forwards in which one layer's input is scaled.
    """
    modules = down_projections(model)
    runs = (
        [(None, 1.0)] if scales is None else [(i, s) for i in range(len(modules)) for s in scales]
    )
    found = []
    for ids, position, wanted in zip(tokens, positions, targets, strict=True):
        sums = [[0.0] * len(modules) for _ in wanted]
        for scaled, scale in runs:
            seen = {}

            def catch(index, at=position, seen=seen, scaled=scaled, scale=scale):
                def hook(module, args):
                    x = args[0].clone()
                    factor = scale if index == scaled else 1.0
                    seen[index] = (factor * x[0, at]).detach().requires_grad_()
                    own = seen[index] - seen[index].detach() + factor * x[0, at]
                    x = torch.cat([x[:, :at], own[None, None], x[:, at + 1 :]], 1)
                    return (x, *args[1:])

                return hook

            handles = [m.register_forward_pre_hook(catch(i)) for i, m in enumerate(modules)]
            try:
                log_p = model(torch.tensor([ids])).logits[0, position].log_softmax(-1)
            finally:
                for handle in handles:
                    handle.remove()
            for k, token in enumerate(wanted):
                read = log_p[token] if log else log_p[token].exp()
                leaves = [seen[i] for i in range(len(modules))]
                for i, g in enumerate(torch.autograd.grad(read, leaves, retain_graph=True)):
                    if scaled in (None, i):
                        sums[k][i] = sums[k][i] + g.numpy() / (len(scales) if scales else 1)
        found.append(sums)
    return np.array(found)


def check(got, expected, budget):
    largest = np.abs(expected).max(axis=-1, keepdims=True)
    assert (largest > 0).all()
    assert_close(got.cg, expected, budget=budget, relative_to=largest)


def of_last_tokens(model, **options):
    with exact_float64(float64_copy(model)) as exact:
        return truth(exact, PROMPTS, [len(ids) - 1 for ids in PROMPTS], TARGETS, **options)


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("missing", SURE)
def test_sure(name, missing, log):
    model = engineered(name, (1 - missing) / missing)
    expected = of_last_tokens(model, log=log)
    for operand, budget in OPERANDS.items():
        got = Engine(model, gemm_dtype=operand).gradients(
            PROMPTS, TARGETS, site="post", method="delta", log=log
        )
        check(got, expected, budget)
        if missing > 1e-6:
            np.testing.assert_allclose(1 - got.prob[:, 0].astype(float), missing, rtol=5e-2)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("p", UNLIKELY)
def test_unlikely(name, p):
    model = engineered(name, p / (1 - p))
    expected = of_last_tokens(model)
    for operand, budget in OPERANDS.items():
        engine = Engine(model, gemm_dtype=operand)
        got = engine.gradients(PROMPTS, TARGETS, site="post", method="delta")
        check(got, expected, budget)
        np.testing.assert_allclose(got.prob[:, 0], p, rtol=1e-2)


@pytest.mark.parametrize("missing", SURE[1:4])
def test_the_models_own_graph_in_float32(missing):
    model = engineered("llama", (1 - missing) / missing)
    got = Engine(model).gradients(PROMPTS, TARGETS, site="post", method="full")
    check(got, of_last_tokens(model), FLOAT32)


@pytest.mark.parametrize("method", ["delta", "full"])
@pytest.mark.parametrize("odds", [1e5, 1e-20])
def test_along_a_path(odds, method):
    model, scales = engineered("llama", odds), [0.9, 1.0, 1.05]
    got = Engine(model).path_gradients(PROMPTS, TARGETS, scales, site="post", method=method)
    check(got, of_last_tokens(model, scales=scales), FLOAT32)


def test_both_of_two_that_share_all_probability():
    """Neither is sure, but the second target's own part of p W is half of it."""
    model = engineered("llama", 1.0)
    with torch.no_grad():  # 50 gets nearly TOKEN's row
        model.lm_head.weight[50] = model.lm_head.weight[TOKEN] * 1.001
        model.lm_head.weight[TOKEN] *= 4
        model.lm_head.weight[50] *= 4
    check(
        Engine(model, gemm_dtype=torch.bfloat16).gradients(PROMPTS, TARGETS, site="post"),
        of_last_tokens(model),
        HALF,
    )


@pytest.mark.parametrize("gain", [1.5, 2.5])
@pytest.mark.parametrize("kind", ["causal", "masked"])
def test_the_demo_models(kind, gain):
    """Made surer by a larger last norm."""
    engine = demo.load(kind)
    model = engine.model
    norm = model.model.norm if kind == "causal" else model.cls.predictions.transform.LayerNorm
    norm.weight.data *= gain
    table = demo.prompts(kind).sample(3, random_state=4)
    prompts, answers = table["prompt"].tolist(), table["answer"].tolist()
    asked = engine.gradients(prompts, answers)
    targets = [[one, 9, 300] for one in asked.target_ids.ravel().tolist()]
    mask = engine.tokenizer.mask_token_id
    positions = [
        len(ids) - 1 if kind == "causal" else ids.index(mask) for ids in asked.prompt_tokens
    ]
    with exact_float64(float64_copy(model)) as exact:
        expected = truth(exact, asked.prompt_tokens, positions, targets)
    for operand, budget in OPERANDS.items():
        rounded = Engine(model, engine.tokenizer, gemm_dtype=operand)
        check(rounded.gradients(prompts, targets, site="post"), expected, budget)
