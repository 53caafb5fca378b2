"""The five fused ops of the delta forward, and the matrix products between them.

Each has a contract, a reference and its backends.
"""

from types import ModuleType

from negkernel.ops.attention import BACKENDS as ATTENTION
from negkernel.ops.attention import attention
from negkernel.ops.dispatch import switch_off, why_off
from negkernel.ops.linear import BACKENDS as LINEAR
from negkernel.ops.linear import linear
from negkernel.ops.logprob import BACKENDS as LOGPROB
from negkernel.ops.logprob import logprob
from negkernel.ops.mlp import BACKENDS as MLP
from negkernel.ops.mlp import mlp
from negkernel.ops.norm import BACKENDS as NORM
from negkernel.ops.norm import norm
from negkernel.ops.shift import BACKENDS as SHIFT
from negkernel.ops.shift import shift
from negkernel.ops.skinny import BACKENDS as SKINNY
from negkernel.ops.skinny import skinny

__all__ = [
    "BACKENDS",
    "attention",
    "decisions",
    "linear",
    "logprob",
    "mlp",
    "norm",
    "shift",
    "skinny",
    "switch_off",
]

BACKENDS: dict[str, dict[str, ModuleType]] = {
    "shift": SHIFT,
    "norm": NORM,
    "attention": ATTENTION,
    "mlp": MLP,
    "logprob": LOGPROB,
    "linear": LINEAR,
    "skinny": SKINNY,
}


def decisions() -> dict[str, dict[str, str | None]]:
    """Return, per op and backend in order of preference, None if it can run here, else why not.

    A backend that can run here may still refuse a call, for example one in float64.
    """
    return {
        op: {name: why_off(op, name) or backend.available() for name, backend in backends.items()}
        for op, backends in BACKENDS.items()
    }
