"""Ten-bit codes, the 720 orders of five labels and zero, as a plane of bytes and one of bit pairs.

Neuron n's low byte is ``low[n]``, its two high bits are bits 2 (n % 4) and above of
``high[n // 4]``.
"""

import numpy as np
from numpy.typing import NDArray

MAX_CODES = 1 << 10
_SHIFT = np.arange(0, 8, 2, dtype=np.uint8)
# A byte of the high plane -> the high parts of its four codes, as the one word they fill.
_FOUR = ((np.arange(256)[:, None] >> _SHIFT & 3) << 8).astype(np.uint16).view(np.uint64)[:, 0]


def split_planes(codes: NDArray[np.uint16]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Planes low [Q, N] and high [Q, ceil(N / 4)] of codes [Q, N] below 1,024."""
    Q, N = codes.shape
    pairs = np.zeros((Q, -(-N // 4), 4), np.uint8)
    pairs.reshape(Q, -1)[:, :N] = codes >> 8
    return codes.astype(np.uint8), np.bitwise_or.reduce(pairs << _SHIFT, axis=2)


def join_planes(low: NDArray[np.uint8], high: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """Codes [Q, N] of their planes."""
    codes = _FOUR[high].view(np.uint16)[:, : low.shape[1]]
    codes |= low
    return codes
