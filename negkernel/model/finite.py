"""Name the weight that makes a model's answers no numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch


def check_finite(model: Any, values: np.ndarray | torch.Tensor) -> None:
    """Refuse unshifted log-probs (or probabilities) that are not finite, and say what is at fault.

    Raises
    ------
    ValueError
        See :func:`fault`.
    """
    if not bool(torch.as_tensor(values).isfinite().all()):
        raise ValueError(fault(model))


def fault(model: Any) -> str:
    """Tell why a model's probabilities are no numbers: its first weight that is not finite."""
    for name, weight in model.named_parameters():
        if weight.is_floating_point() and not bool(weight.isfinite().all()):
            return (
                f"the model's weight {name} holds NaN or infinity, so that its probabilities are "
                "no numbers; expected finite weights, load an undamaged checkpoint"
            )
    return (
        "the model's probabilities are no numbers although its weights are: activations overflow "
        f"{str(model.dtype).removeprefix('torch.')}; load it with dtype='bfloat16' or 'float32'"
    )
