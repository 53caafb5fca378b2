"""The right value: one ordinary forward a shift, one hook, nothing of the engine.

And models with weights large enough for a shift of 2 to move log-probs by tenths of nats.
"""

from __future__ import annotations

import numpy as np
import torch
from transformers import BertConfig, BertForMaskedLM, LlamaConfig, LlamaForCausalLM

V = 97
MASK = 5
PROMPTS = [[11, 45, 23, 67, 90, 31, 77, 54, 18, 60, 8, 71], [9, 40, 33]]
TARGETS = [17, 29]
NEURONS = [(0, 3), (1, 7), (2, 30)]
SHIFTS = [-2.0, 0.5, 3.0]
SIZES = {
    "vocab_size": V,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
}


class Ids:
    """A tokenizer as far as a masked model asked about token ids needs one."""

    mask_token_id, mask_token, bos_token_id, eos_token_id = MASK, "[MASK]", None, None

    def decode(self, ids):
        return str(ids)


def randomised(model, scale=0.25):
    """The same weights for the same names, norms around 1."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.dim() > 1:
                parameter.copy_(noise * scale)
            else:
                parameter.add_(noise * 0.1)
    return model.eval()


def llama(**changes):
    sizes = {**SIZES, "num_key_value_heads": 2, **changes}
    return randomised(LlamaForCausalLM(LlamaConfig(**sizes)))


def bert(**changes):
    return randomised(BertForMaskedLM(BertConfig(**{**SIZES, **changes})))


def up(model, layer):
    """Where the neurons of a Llama's layer are."""
    return model.get_submodule(f"model.layers.{layer}.mlp.up_proj")


def logprob(model, ids, at, target, module=None, edit=None, is_input=False):
    """Return log p(target) read at ``at``, with ``edit(row)`` applied to the neurons there."""

    def change(x):
        x = x.clone()
        row = x.reshape(-1, x.shape[-1])[at]
        x.reshape(-1, x.shape[-1])[at] = edit(row)
        return x

    handle = None
    if module is not None and is_input:
        handle = module.register_forward_pre_hook(lambda m, args: (change(args[0]), *args[1:]))
    elif module is not None:
        handle = module.register_forward_hook(lambda m, args, out: change(out))
    try:
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([ids])).logits[0, at]
    finally:
        if handle is not None:
            handle.remove()
    return torch.log_softmax(logits.double(), -1)[target].item()


def curve(model, ids, at, target, module, neuron, is_input=False):
    """Base and changes of log p under :data:`SHIFTS` along the magnitude."""

    def shifted(amount):
        def edit(row):
            row = row.clone()
            row[neuron] += amount * row[neuron].sign()
            return row

        return logprob(model, ids, at, target, module, edit, is_input)

    base = logprob(model, ids, at, target)
    return base, np.array([shifted(amount) - base for amount in SHIFTS])


def assert_right(sweep, model, where=up, is_input=False, positions=None):
    """Every base and every curve of a sweep, against plain forwards one at a time.

    ``positions`` are those that prompts are probed at, None for a prompt that is left out.
    """
    for p, (ids, target) in enumerate(zip(sweep.prompt_tokens, sweep.target_ids, strict=True)):
        at = len(ids) - 1 if positions is None else positions[p]
        if at is None:
            continue
        for n, (layer, neuron) in enumerate(NEURONS):
            base, right = curve(model, ids, at, target, where(model, layer), neuron, is_input)
            # Rounding of float32, of the log-probs and of the largest change.
            budget = 5e-5 * (1 + abs(base) + np.abs(right).max())
            np.testing.assert_allclose(sweep.base_logprob[p], base, rtol=0, atol=budget)
            np.testing.assert_allclose(sweep.logprob_shift[p, n], right, rtol=0, atol=budget)
