"""Name the weight that makes a model's answers no numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch


def check_finite(model: Any, values: np.ndarray | torch.Tensor) -> None:
    """Refuse unshifted log-probs (or probabilities) that are not finite, and say what is at fault.

    The weights are looked at only where that happens.

    Raises
    ------
    ValueError
        Names the first weight that holds NaN or infinity.
    """
    if bool(torch.as_tensor(values).isfinite().all()):
        return
    for name, weight in model.named_parameters():
        if weight.is_floating_point() and not bool(weight.isfinite().all()):
            raise ValueError(
                f"the model's weight {name} holds NaN or infinity, so that its probabilities are "
                "no numbers; expected finite weights, load an undamaged checkpoint"
            )
    raise ValueError(
        "the model's probabilities are no numbers although its weights are: activations overflow "
        f"{str(model.dtype).removeprefix('torch.')}; load it with dtype='bfloat16' or 'float32'"
    )
