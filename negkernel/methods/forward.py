"""Run a model's own forward and read log-probs off it."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor

from negkernel.families.resident import device_of


def probed_logprob(model: Any, ids: Tensor, position: int, *, plain: bool = False) -> Tensor:
    """Log-probs [B, V] read at ``position`` of ``ids`` [B, S]: of the next or the masked token.

    Unless ``plain``, only the logits of the last position are asked for where that is the one.
    """
    if position == ids.shape[1] - 1 and not plain:
        return last_logprob(model, ids)
    logits = logits_of(model(input_ids=ids.to(input_device(model))))
    return log_softmax(own_logits(model, logits, ids)[:, position])


def last_logprob(model: Any, ids: Tensor, **options: Any) -> Tensor:
    """Log-probs [B, V] after the last token of ``ids`` [B, S] (no padding), float32 or float64."""
    keep = {"logits_to_keep": 1} if accepts(model, "logits_to_keep") else {}
    if accepts(model, "use_cache"):
        options.setdefault("use_cache", False)
    logits = logits_of(model(input_ids=ids.to(input_device(model)), **keep, **options))
    return log_softmax((logits if keep else own_logits(model, logits, ids))[:, -1])


def own_logits(model: Any, logits: Tensor, ids: Tensor) -> Tensor:
    """Return ``logits`` [B, S, V] if they are of the tokens ``ids`` [B, S] alone."""
    if logits.shape[1] != ids.shape[1]:
        raise NotImplementedError(
            f"{type(model).__name__} gives logits at {logits.shape[1]} positions for a prompt of "
            f"{ids.shape[1]} tokens: it adds or drops some"
        )
    return logits


def logits_of(output: Any) -> Tensor:
    """Logits of the language model's head, however the model's output calls them."""
    found = getattr(output, "logits", None)
    logits: Tensor = output.prediction_logits if found is None else found
    return logits


def input_device(model: Any) -> torch.device:
    """Where token ids belong: with the embedding, or where accelerate runs it."""
    return device_of(model.get_input_embeddings())


def log_softmax(logits: Tensor) -> Tensor:
    """Log-probs in float32, or in float64 where the logits are."""
    dtype = torch.float64 if logits.dtype == torch.float64 else torch.float32
    return torch.log_softmax(logits.to(dtype), dim=-1)


def accepts(model: Any, argument: str) -> bool:
    """Whether the model's forward takes ``argument`` by name."""
    return argument in inspect.signature(model.forward).parameters
