"""Delta of the MLP's elementwise part in plain torch."""

import math
from collections.abc import Callable

import torch

Tensor = torch.Tensor

# Gauss-Legendre on [-1, 1], exact for polynomials of degree 11: over a step of at most 1/2
# the normal density is integrated to float64's last digits where it is not itself negligible.
NODES = (0.2386191860831969, 0.6612093864662645, 0.9324695142031521)
WEIGHTS = (0.4679139345726910, 0.3607615730481386, 0.1713244923791704)

# Constants of the tanh form of gelu.
TWO_C, K = 2 * math.sqrt(2 / math.pi), 0.044715


def available() -> str | None:
    """Return None: plain torch runs everywhere."""
    return None


def supports(*args: object, **options: object) -> str | None:
    """Return None: the reference runs every call that meets the contract."""
    return None


def mlp(
    gate: torch.Tensor | None,
    up: torch.Tensor,
    dgate: torch.Tensor | None,
    dup: torch.Tensor,
    row_prompt: torch.Tensor,
    *,
    activation: str = "silu",
) -> torch.Tensor:
    """Return the difference of the down projection's input; see `negkernel.ops.mlp.mlp`."""
    value, difference = ACTIVATIONS[activation]
    if gate is None or dgate is None:
        return difference(up[row_prompt], dup)
    return (
        difference(gate[row_prompt], dgate) * (up[row_prompt] + dup) + value(gate)[row_prompt] * dup
    )


def sigmoid_difference(a: torch.Tensor, b: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
    """Return sigmoid(b) - sigmoid(a) for b = a + step, in the form that overflows for no sign."""
    rise = -torch.expm1(-step) * torch.sigmoid(-a) * torch.sigmoid(b)
    fall = torch.expm1(step) * torch.sigmoid(a) * torch.sigmoid(-b)
    return torch.where(step < 0, fall, rise)


def normal_difference(a: torch.Tensor, b: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
    """Return Phi(b) - Phi(a) for b = a + step, Phi the standard normal distribution function."""
    # A small step integrates the density; a large one cannot cancel once both ends are folded to
    # the tail they are in.
    middle, half = a + step / 2, step / 2
    density = torch.zeros_like(step)
    for node, weight in zip(NODES, WEIGHTS, strict=True):
        for x in (middle - half * node, middle + half * node):
            density = density + weight * torch.exp(-x.square() / 2)
    small = half * density / math.sqrt(2 * math.pi)

    root = math.sqrt(2)
    upper = torch.erfc(a / root) - torch.erfc(b / root)
    lower = torch.erfc(-b / root) - torch.erfc(-a / root)
    across = torch.erf(b / root) - torch.erf(a / root)
    folded = torch.where(
        torch.minimum(a, b) > 0, upper, torch.where(torch.maximum(a, b) < 0, lower, across)
    )
    return torch.where(step.abs() <= 0.5, small, folded / 2)


def silu_difference(a: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
    """Return silu(a + step) - silu(a)."""
    b = a + step
    return step * torch.sigmoid(b) + a * sigmoid_difference(a, b, step)


def gelu_difference(a: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
    """Return gelu(a + step) - gelu(a), gelu(x) = x * Phi(x)."""
    b = a + step
    return step * torch.erfc(-b / math.sqrt(2)) / 2 + a * normal_difference(a, b, step)


def gelu_tanh_difference(a: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
    """Return gelu_tanh(a + step) - gelu_tanh(a), gelu_tanh(x) = x * sigmoid(2 c (x + k x^3))."""
    b = a + step
    inner_a, inner_b = gelu_tanh_inner(a), gelu_tanh_inner(b)
    inner_step = TWO_C * step * (1 + K * (a.square() + a * b + b.square()))
    return step * torch.sigmoid(inner_b) + a * sigmoid_difference(inner_a, inner_b, inner_step)


def gelu_tanh_inner(x: torch.Tensor) -> torch.Tensor:
    """Return 2 c (x + k x^3), whose sigmoid multiplies x."""
    return TWO_C * x * (1 + K * x.square())


def relu_difference(a: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
    """Return relu(a + step) - relu(a); the step itself where neither end is clipped."""
    b = a + step
    return torch.where((a > 0) & (b > 0), step, torch.relu(b) - torch.relu(a))


def gelu(x: torch.Tensor) -> torch.Tensor:
    """Return x * Phi(x); erfc keeps the lower tail's digits."""
    return x * torch.erfc(-x / math.sqrt(2)) / 2


def gelu_tanh(x: torch.Tensor) -> torch.Tensor:
    """Return the tanh approximation of gelu, as a sigmoid to keep the lower tail's digits."""
    return x * torch.sigmoid(gelu_tanh_inner(x))


ACTIVATIONS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]]] = {
    "silu": (torch.nn.functional.silu, silu_difference),
    "gelu": (gelu, gelu_difference),
    "gelu_tanh": (gelu_tanh, gelu_tanh_difference),
    "relu": (torch.relu, relu_difference),
}
