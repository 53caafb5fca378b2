"""Tell what a model completes prompts with, before and after neurons are shifted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from negkernel import Engine, Intervention
from negkernel.hooks import edits as hooks
from negkernel.hooks.lease import borrowed
from negkernel.hooks.modules import feed_forwards
from negkernel.methods.forward import probed_logprob
from negkernel.model.exclusive import guard
from negkernel.request.neurons import intervention_rows


@torch.no_grad()
def distributions(
    engine: Engine, tokens: Sequence[Sequence[int]], shift: Intervention | None = None
) -> Tensor:
    """Probabilities [B, V] where each prompt is probed, of the whole vocabulary, on the CPU.

    With ``shift``, by a hooked forward of the model for each prompt.
    """
    model, found = engine.model, []
    sites = [one.site(engine.site) for one in feed_forwards(model, model.config.get_text_config())]
    with guard(model), borrowed(model) as state:
        for prompt in tokens:
            state.restore()
            at, edits = _probed(engine, prompt), {}
            if shift is not None:
                rows = intervention_rows([[shift]], torch.float32)
                edits = hooks.shifts(rows, hooks.Probed(1, len(prompt), [at]), shift.axis)
            with hooks.edited(sites, edits):
                found.append(probed_logprob(model, torch.tensor([list(prompt)]), [at])[0, 0].cpu())
    return torch.stack(found).exp().float()


def described(
    engine: Engine,
    prompts: Sequence[str],
    labels: Sequence[str],
    probs: Tensor,
    gt_probs: Sequence[float],
    return_prob: bool | None,
) -> list[dict[str, Any]]:
    """One dictionary for each prompt, with the keys of the paper's public code."""
    best, ids = probs.max(1)
    return [
        {
            "prompt": prompts[p],
            "gt": labels[p],
            "gt_prob": float(gt_probs[p]),
            "argmax_completion": engine.tokenizer.decode([int(ids[p])]),
            "argmax_prob": float(best[p]),
            "probs": probs[p] if return_prob else None,
        }
        for p in range(len(prompts))
    ]


def _probed(engine: Engine, prompt: Sequence[int]) -> int:
    if engine.task == "causal":
        return len(prompt) - 1
    return list(prompt).index(engine.tokenizer.mask_token_id)
