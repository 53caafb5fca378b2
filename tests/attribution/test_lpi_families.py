"""LPI where norms have biases, or stand between a neuron and the stream: against a slow reading."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    GPT2Config,
    GraniteConfig,
    Olmo2Config,
    OPTConfig,
)

from negkernel import Engine
from negkernel.testing.exact import exact_float64
from neurgrad.attribution import lpi

V = 83
SIZES = {
    "vocab_size": V,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "pad_token_id": 0,
}
GEMMA = {**SIZES, "num_key_value_heads": 1, "head_dim": 12}
OPT = {**SIZES, "ffn_dim": 40, "do_layer_norm_before": False}
CASES = {
    "gemma2, capped": Gemma2Config(**GEMMA, final_logit_softcapping=3.0),
    "gemma2, not capped": Gemma2Config(**GEMMA, final_logit_softcapping=None),
    "olmo2": Olmo2Config(**SIZES),
    "granite": GraniteConfig(**SIZES, residual_multiplier=0.4, logits_scaling=3.0),
    "opt, norms after the sum": OPTConfig(**OPT, word_embed_proj_dim=16),
    "gpt2, biases": GPT2Config(vocab_size=V, n_embd=24, n_layer=3, n_head=2, n_inner=40),
}
PROMPTS, TARGETS = [[5, 9, 33, 7], [11, 2], [60]], [[3, 71], [8, 40], [19, 82]]


def build(config):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).double().eval()
    with torch.no_grad():  # every bias and gain of its own, or a forgotten one would not show
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


class Parts:
    """Where one family keeps what the formula names; shapes as the modules give them."""

    def __init__(self, model):
        kind = model.config.model_type
        self.scale = getattr(model.config, "residual_multiplier", 1.0)
        self.divide = getattr(model.config, "logits_scaling", 1.0)
        self.cap = getattr(model.config, "final_logit_softcapping", None)
        self.project = None
        self.after = self.after_sum = lambda layer: None
        if kind == "opt":
            self.layers, self.final = model.model.decoder.layers, None
            self.project = model.model.decoder.project_out
            self.down, self.after_sum = lambda y: y.fc2, lambda y: y.final_layer_norm
            self.stream = lambda y: y.fc1
        elif kind == "gpt2":
            self.layers, self.final = model.transformer.h, model.transformer.ln_f
            self.down, self.stream = lambda y: y.mlp.c_proj, lambda y: y.ln_2
        else:
            self.layers, self.final = model.model.layers, model.model.norm
            self.down = lambda y: y.mlp.down_proj
            self.stream = lambda y: y.post_attention_layernorm
            if kind in ("gemma2", "olmo2"):
                self.after = lambda y: y.post_feedforward_layernorm
                self.stream = lambda y: y.pre_feedforward_layernorm if kind == "gemma2" else y.mlp
        self.head = model.lm_head

    def column(self, layer, i):
        weight = self.down(layer).weight
        return weight[i] if type(self.down(layer)).__name__ == "Conv1D" else weight[:, i]


def normed(norm, x, at):
    """``norm`` of x with its statistic taken of ``at``; the bias only for states."""
    eps = getattr(norm, "variance_epsilon", None)
    eps = norm.eps if eps is None else eps
    if isinstance(norm, torch.nn.LayerNorm):
        at, x = at - at.mean(-1, keepdim=True), x - x.mean(-1, keepdim=True)
    offset = 1.0 if type(norm).__name__.startswith("Gemma") else 0.0
    return x * (at.square().mean(-1, keepdim=True) + eps).rsqrt() * (norm.weight + offset)


def bias(norm):
    own = getattr(norm, "bias", None)
    return 0.0 if own is None else own


def slow_lpi(model, tokens, target, norm):
    """One neuron after the other through the written formula: [L, I]."""
    parts, seen = Parts(model), {}

    def keep(name):
        def hook(_, args):
            seen[name] = args[0].reshape(-1, args[0].shape[-1])[-1].clone()

        return hook

    handles = []
    for index, layer in enumerate(parts.layers):
        handles.append(parts.stream(layer).register_forward_pre_hook(keep(("x", index))))
        handles.append(parts.down(layer).register_forward_pre_hook(keep(("m", index))))
        for name, of in (("after", parts.after), ("sum", parts.after_sum)):
            if of(layer) is not None:
                handles.append(of(layer).register_forward_pre_hook(keep((name, index))))
    if parts.final is not None:
        handles.append(parts.final.register_forward_pre_hook(keep("final")))
    model(torch.tensor([tokens]))
    for handle in handles:
        handle.remove()

    def logprob(x):
        if parts.final is not None:
            at = seen["final"] if norm == "frozen" else x
            x = normed(parts.final, x, at) + bias(parts.final)
        x = x if parts.project is None else parts.project(x)
        logits = parts.head(x) / parts.divide
        logits = logits if parts.cap is None else parts.cap * torch.tanh(logits / parts.cap)
        return logits.log_softmax(-1)[target]

    rows = []
    for index, layer in enumerate(parts.layers):
        x, m = seen["x", index], seen["m", index]
        after, after_sum = parts.after(layer), parts.after_sum(layer)
        if after_sum is not None:
            x = normed(after_sum, x, seen["sum", index]) + bias(after_sum)
        row = []
        for i in range(len(m)):
            v = m[i] * parts.column(layer, i)
            v = v if after is None else normed(after, v, seen["after", index])
            v = v if after_sum is None else normed(after_sum, v, seen["sum", index])
            row.append(logprob(x + parts.scale * v) - logprob(x))
        rows.append(torch.stack(row))
    return torch.stack(rows).numpy()


@pytest.mark.parametrize("norm", ["frozen", "recomputed"])
@pytest.mark.parametrize("case", CASES)
def test_lpi_equals_the_formula_neuron_by_neuron(case, norm):
    model = build(CASES[case])
    with exact_float64(model), torch.no_grad():
        found = lpi(Engine(model), PROMPTS, TARGETS, norm=norm)
        for p, tokens in enumerate(PROMPTS):
            for k, target in enumerate(TARGETS[p]):
                slow = slow_lpi(model, tokens, target, norm)
                assert np.abs(slow).max() > 1e-3
                np.testing.assert_allclose(found[p, k], slow, atol=1e-11 * max(1, abs(slow).max()))


@pytest.mark.parametrize("case", ["gemma2, not capped", "olmo2"])
def test_the_shares_of_a_normed_sum_add_up_to_it(case):
    """Columns passed through the frozen norm, times coefficients, are what the MLP adds."""
    from negkernel.delta.direct_effects import _added
    from negkernel.delta.trace import trace

    model = build(CASES[case])
    runner = Engine(model)._host.method("delta")
    base = trace(runner.model, PROMPTS)
    block, of = runner.model.blocks[1], base.layers[1]
    hidden = of.inner.hidden
    added = _added(block, of, hidden)
    whole = block.mlp_out(of.mlp_out)
    torch.testing.assert_close(added.coefficient @ added.columns, whole, rtol=1e-12, atol=1e-12)
