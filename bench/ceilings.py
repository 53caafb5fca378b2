"""What the machine can do at best: a large copy and a large matrix product, timed in this run."""

from __future__ import annotations

import time
from collections.abc import Sequence
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


def sustained(
    device: str, dtype: torch.dtype, shapes: Sequence[tuple[int, int, int]], *, seconds: float
) -> float:
    """FLOP a second of products of ``shapes``, in turn, for so long that a clock settles.

    Parameters
    ----------
    shapes : list of (int, int, int)
        Rows, outputs and terms of each product.
    """
    inputs = {
        (rows, out, terms): (
            torch.randn(rows, terms, device=device).to(dtype),
            torch.randn(out, terms, device=device).to(dtype),
        )
        for rows, out, terms in set(shapes)
    }
    on_gpu = torch.device(device).type == "cuda"

    def turn() -> float:
        begun = time.perf_counter()
        for shape in shapes:
            x, weight = inputs[shape]
            torch.mm(x, weight.t())
        if on_gpu:
            torch.cuda.synchronize(device)
        return time.perf_counter() - begun

    turn()
    flops, times = sum(2.0 * rows * out * terms for rows, out, terms in shapes), list[float]()
    while sum(times) < seconds:
        times.append(turn())
    later = times[len(times) // 2 :]  # a card starts faster than it can go on
    return flops * len(later) / sum(later)
