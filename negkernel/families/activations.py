"""Activation functions: transformers' many spellings, the four that the ops implement."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

_NAMES = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "relu": "relu",
}


def activation_name(hidden_act: str) -> str:
    """Translate a config's ``hidden_act`` to "silu", "gelu", "gelu_tanh" or "relu".

    Raises
    ------
    NotImplementedError
        For an activation whose difference form is not implemented.
    """
    if hidden_act not in _NAMES:
        raise NotImplementedError(
            f"activation {hidden_act!r} has no difference form here; expected one of "
            f"{', '.join(sorted(_NAMES))}. Use method='suffix'."
        )
    return _NAMES[hidden_act]


def activate(x: Tensor, name: str) -> Tensor:
    """``act(x)`` elementwise, in a new tensor."""
    if name == "silu":
        return F.silu(x)
    if name == "relu":
        return F.relu(x)
    return F.gelu(x, approximate="tanh" if name == "gelu_tanh" else "none")


def activate_slope(x: Tensor, name: str) -> Tensor:
    """``act'(x)`` elementwise; 0 at the kink of relu, as autograd has it."""
    if name == "silu":
        s = torch.sigmoid(x)
        return s * (1 + x * (1 - s))
    if name == "relu":
        return (x > 0).to(x.dtype)
    if name == "gelu":
        return 0.5 * (1 + torch.erf(x / math.sqrt(2))) + x * torch.exp(-0.5 * x * x) / math.sqrt(
            2 * math.pi
        )
    c, cubic = math.sqrt(2 / math.pi), 0.044715
    t = torch.tanh(c * (x + cubic * x**3))
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * c * (1 + 3 * cubic * x * x)
