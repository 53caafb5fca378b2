"""Delta MLP: what act(gate) * up, or act(up), makes of a difference of its inputs."""

import torch

from negkernel.ops import dispatch
from negkernel.ops.contract import check_floats, check_index, check_shape
from negkernel.ops.mlp import cpp, reference, triton

BACKENDS = {"triton": triton, "cpp": cpp, "reference": reference}
ACTIVATIONS = tuple(reference.ACTIVATIONS)


def mlp(
    gate: torch.Tensor | None,
    up: torch.Tensor,
    dgate: torch.Tensor | None,
    dup: torch.Tensor,
    row_prompt: torch.Tensor,
    *,
    activation: str = "silu",
    impl: str = "auto",
) -> torch.Tensor:
    """Return the difference of act(gate) * up, or of act(up) where there is no gate.

    d[act(g) u] = dact * (u + du) + act(g) * du with dact = act(g + dg) - act(g) in a form that does
    not cancel: for x * F(x), dx * F(x + dx) + x * (F(x + dx) - F(x)), where the difference of F is
    a product (sigmoid, tanh) or an integral of the density (normal distribution).

    Parameters
    ----------
    gate : torch.Tensor or None
        Base output of the gate projection, [P, I]; None for an ungated MLP.
    up : torch.Tensor
        Base output of the up projection, [P, I]; of the only input projection if ungated.
    dgate : torch.Tensor or None
        Difference of the gate, [R, I]; None exactly where `gate` is.
    dup : torch.Tensor
        Difference of the up projection, [R, I].
    row_prompt : torch.Tensor
        Prompt of each row, [R] int64.
    activation : {"silu", "gelu", "gelu_tanh", "relu"}
        Activation function; `"gelu"` is the erf form.
    impl : str
        `"auto"` or the name of a backend.

    Returns
    -------
    torch.Tensor
        dh, difference of the down projection's input, [R, I].
    """
    check_floats("mlp", up=up, dup=dup, gate=gate, dgate=dgate)
    if activation not in ACTIVATIONS:
        raise ValueError(f"mlp: activation is {activation!r}, expected {', '.join(ACTIVATIONS)}")
    R = dup.shape[0]
    check_shape("mlp", "dup", dup, R, *up.shape[1:])
    check_index("mlp", "row_prompt", row_prompt, R)
    if (gate is None) != (dgate is None):
        raise ValueError("mlp: one of gate and dgate is None; give both (gated) or neither")
    if gate is not None and dgate is not None:
        check_shape("mlp", "gate", gate, *up.shape)
        check_shape("mlp", "dgate", dgate, *dup.shape)
    return dispatch.call(
        "mlp", BACKENDS, impl, gate, up, dgate, dup, row_prompt, activation=activation
    )
