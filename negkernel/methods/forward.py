"""Run a model's own forward and read log-probs off it."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from negkernel.families.resident import device_of


def probed_logprob(
    model: Any, ids: Tensor, read: Sequence[int], *, plain: bool = False, **options: Any
) -> Tensor:
    """Log-probs [B, T, V] at positions of ``ids`` [B, S] (no padding), float32 or float64.

    Of the next or the masked token. Unless ``plain``, no cache is made and only the logits from the
    first of them on are asked for, where the model lets one.

    Parameters
    ----------
    read : list of int
        The T positions, ascending.
    **options
        Further arguments of the model.
    """
    first, length = 0, ids.shape[1]
    if not plain:
        if accepts(model, "use_cache"):
            options.setdefault("use_cache", False)
        if accepts(model, "logits_to_keep"):
            first = read[0]
            options["logits_to_keep"] = length - first
    logits = logits_of(model(input_ids=ids.to(input_device(model)), **options))
    if not first:
        logits = own_logits(model, logits, ids)
    return log_softmax(logits[:, [at - first for at in read]])


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
