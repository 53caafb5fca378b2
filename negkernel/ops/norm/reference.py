"""Delta norm in plain torch."""

import torch


def available() -> str | None:
    """Return None: plain torch runs everywhere."""
    return None


def supports(*args: object, **options: object) -> str | None:
    """Return None: the reference runs every call that meets the contract."""
    return None


def norm(
    x: torch.Tensor,
    d: torch.Tensor,
    row_prompt: torch.Tensor,
    *,
    weight: torch.Tensor | None,
    eps: float,
    kind: str = "rms",
    branch: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the difference of the norm's output; see `negkernel.ops.norm.norm`."""
    if branch is not None:
        d.add_(branch)
    if kind == "layer":
        x = x - x.mean(-1, keepdim=True)
        d = d - d.mean(-1, keepdim=True)

    m0 = x.square().mean(-1, keepdim=True)[row_prompt] + eps
    x = x[row_prompt]
    dm = (d * (2 * x + d)).mean(-1, keepdim=True)
    # The second moment is taken afresh: m0 + dm would cancel where d is close to -x.
    m1 = (x + d).square().mean(-1, keepdim=True) + eps
    s0, s1 = m0.rsqrt(), m1.rsqrt()
    ds = -dm * s0.square() * s1.square() / (s0 + s1)
    dn = d * s1 + x * ds
    return dn if weight is None else dn * weight
