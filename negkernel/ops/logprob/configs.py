"""Launch configurations of the delta log-prob, apart from its mathematics.

Triton times them once per block of rows, hidden size and weight dtype and keeps the choice on disk.
"""

import triton

# Half of the 255 registers a thread may have hold the tile of products; with 128 of them, as tiles
# twice as large or half the warps would need, the sums behind the products spill kilobytes.
_CANDIDATES = [
    triton.Config({"BLOCK_V": 128, "BLOCK_H": 64}, num_warps=8, num_stages=3),
    triton.Config({"BLOCK_V": 128, "BLOCK_H": 64}, num_warps=8, num_stages=4),
    triton.Config({"BLOCK_V": 64, "BLOCK_H": 64}, num_warps=4, num_stages=4),
]
# Shared memory holds half as many float32 operands, which no tensor core takes whole.
_CANDIDATES_FLOAT32 = [
    triton.Config({"BLOCK_V": 64, "BLOCK_H": 16}, num_warps=4, num_stages=3),
    triton.Config({"BLOCK_V": 64, "BLOCK_H": 32}, num_warps=8, num_stages=3),
]
_INTERPRETED = [triton.Config({"BLOCK_V": 64, "BLOCK_H": 64})]
KEY = ["H", "BLOCK_R", "CAPPED"]

# Every BLOCK_V divides a program's share of the vocabulary.
SHARE = 256
# Bytes of rows that are read again and again: a third of the L2 cache of an A100 or H200.
L2_SHARE = 16 << 20


def configs(half: bool) -> list[triton.Config]:
    """Return the candidates for operands of half precision or float32."""
    if triton.knobs.runtime.interpret:
        return _INTERPRETED
    return _CANDIDATES if half else _CANDIDATES_FLOAT32


def block_r(rows: int, half: bool) -> int:
    """Return how many rows share a program's tiles of the weight."""
    fit = 16 if rows <= 16 else 64 if rows <= 64 or not half else 128
    return min(fit, 64) if triton.knobs.runtime.interpret else fit


def group(rows: int, block_r: int, width: int) -> int:
    """Return how many blocks of rows take the whole vocabulary before the next ones begin.

    Their operands, `width` bytes a row, are read again for every tile of the vocabulary, so they
    should stay in the L2 cache beside a few tiles of the weight.
    """
    return max(1, min(-(-rows // block_r), L2_SHARE // (block_r * width)))


def share(vocabulary: int, blocks: int, processors: int) -> int:
    """Return the vocabulary entries of a program, so that `blocks` of rows keep all busy.

    Programs that walk the same part side by side read its weights from memory once. Two programs a
    processor even out the end.
    """
    splits = max(1, -(-2 * processors // blocks))
    per_split = -(-vocabulary // splits)
    return -(-per_split // SHARE) * SHARE
