"""Elementary functions that the Triton kernels share, the twin of csrc/common/vector_math.h.

Triton has no expm1, and its exp on a GPU is an approximation; these are float32 with errors of a
few units in the last place, let NaN through, and are the same in the interpreter.
"""

import triton
import triton.language as tl


@triton.jit
def exponential(x):
    """Return exp(x) and exp(x) - 1, for x clamped to [-87, 88] so that both stay finite.

    x = n ln 2 + r with |r| <= ln(2)/2 and expm1(r) = r + r^2 P(r), P fitted to a relative error of
    1.4e-8; then exp(x) = 2^n + 2^n expm1(r).
    """
    x = tl.where(x < -87.0, -87.0, tl.where(x > 88.0, 88.0, x))
    n = tl.floor(x * 1.44269504 + 0.5)
    scale = ((n.to(tl.int32) + 127) << 23).to(tl.float32, bitcast=True)
    r = x - n * 0.693359375  # ln 2 in two parts, the first exact in products with n
    r = r + n * 2.12194440e-4
    p = r * 1.385809970e-03 + 8.366740131e-03
    p = p * r + 4.166760014e-02
    p = p * r + 1.666654149e-01
    p = p * r + 4.999999673e-01
    q = r + r * r * p
    return scale + scale * q, scale * q + (scale - 1.0)


@triton.jit
def exp(x):
    """Return exp(x), x clamped as in `exponential`."""
    value, _ = exponential(x)
    return value


@triton.jit
def expm1(x):
    """Return exp(x) - 1 with its digits near 0, x clamped as in `exponential`."""
    _, rise = exponential(x)
    return rise


@triton.jit
def tanh(x):
    """Return tanh(x) with its digits near 0."""
    rise = expm1(2.0 * x)
    return rise / (rise + 2.0)


@triton.jit
def tanh_difference(a, b, step):
    """Return tanh(b) - tanh(a) for b = a + step."""
    return tanh(step) * (1.0 - tanh(a) * tanh(b))


@triton.jit
def sigmoid(x):
    """Return 1 / (1 + exp(-x)) with the lower tail's digits."""
    small = exp(-tl.abs(x))
    larger = 1.0 / (1.0 + small)
    return tl.where(x < 0, small * larger, larger)
