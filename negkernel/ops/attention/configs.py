"""Launch configurations of the delta attention, apart from its mathematics.

Triton times them once per head size, group size and row block and keeps the choice on disk.
"""

import triton

# Products of float32 in float32. "tf32x3" has them on the tensor cores in three passes; its
# operands keep 21 bits, and emulated on a CPU it doubles the result's error, the most allowed.
# `make gpu` times both (bench/ladder).
PRECISION = "ieee"

_CANDIDATES = [
    triton.Config({"BLOCK_S": 32}, num_warps=8, num_stages=2),
    triton.Config({"BLOCK_S": 16}, num_warps=8, num_stages=2),
    triton.Config({"BLOCK_S": 32}, num_warps=4, num_stages=2),
]
CONFIGS = _CANDIDATES[:1] if triton.knobs.runtime.interpret else _CANDIDATES
KEY = ["G", "BLOCK_M", "BLOCK_D", "CAPPED", "PRECISION"]


def block_m(n: int, block_d: int) -> int:
    """Return how many of `n` pairs of a row and a query head a program takes.

    More of them share each key and value tile; the accumulators [block_m, block_d] live in
    registers, so long heads allow fewer.
    """
    most = max(16, min(64, 4096 // block_d))
    return most if n > 4 * most else 16
