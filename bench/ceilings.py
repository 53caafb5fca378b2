"""What the machine can do at best: a large copy and a large matrix product, timed in this run."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from negkernel.testing.timing import interleave


@dataclass(frozen=True)
class Ceilings:
    """Bytes a second of a copy, reads and writes counted, and FLOP a second of a product."""

    copy: float
    gemm: float

    def seconds(self, size: float, flops: float) -> float:
        """Least time for moving ``size`` bytes and doing ``flops``, whichever takes longer."""
        return max(size / self.copy, flops / self.gemm)


def ceilings(device: str, dtype: torch.dtype, *, quick: bool = False, repeats: int = 5) -> Ceilings:
    """Measure both in ``dtype``: medians, of random numbers, larger than any cache."""
    on_gpu = torch.device(device).type == "cuda"
    side = 256 if quick else 8192 if on_gpu else 2048
    size = 1 << 20 if quick else 1 << 31 if on_gpu else 1 << 28
    source = torch.empty(size, dtype=torch.uint8, device=device)
    copied = torch.empty_like(source)
    a, b = torch.randn(2, side, side, device=device).to(dtype)
    product = torch.empty_like(a)
    contestants = {
        "copy": lambda _: copied.copy_(source),
        "gemm": lambda _: torch.mm(a, b, out=product),
    }
    for warm_up in contestants.values():
        warm_up(None)
    times = interleave(contestants, range(repeats), device)
    return Ceilings(2 * size / times["copy"].p50, 2 * side**3 / times["gemm"].p50)
