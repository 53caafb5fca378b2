"""Device code of the delta MLP; `triton.py` beside it launches it. The twin of csrc/mlp."""

import triton
import triton.language as tl

from negkernel.ops.triton_math import exp, expm1, sigmoid

# gelu_tanh(x) = x * sigmoid(2 c (x + k x^3)).
TWO_C = tl.constexpr(1.59576912)
K = tl.constexpr(0.044715)
INVERSE_ROOT_2PI = tl.constexpr(0.398942280)


@triton.jit
def mlp_kernel(
    gate,
    up,
    dgate,
    dup,
    row_prompt,
    dh,
    I,
    ACTIVATION: tl.constexpr,
    BLOCK_I: tl.constexpr,
):
    """Write dh, the difference of act(gate) * up, or of act(up) where gate is None.

    Shapes: gate, up [P, I]; dgate, dup, dh [R, I]; row_prompt [R] int64; contiguous, float32 unless
    stated. A program owns BLOCK_I elements of one row; the grid is [R, ceil(I / BLOCK_I)].
    """
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK_I + tl.arange(0, BLOCK_I)
    inside = column < I
    own = row * I + column
    base = tl.load(row_prompt + row) * I + column
    b_up = tl.load(up + base, mask=inside, other=0.0)
    b_dup = tl.load(dup + own, mask=inside, other=0.0)
    if gate is None:
        _, b_dh = difference(b_up, b_dup, ACTIVATION)
    else:
        b_gate = tl.load(gate + base, mask=inside, other=0.0)
        b_dgate = tl.load(dgate + own, mask=inside, other=0.0)
        value, change = difference(b_gate, b_dgate, ACTIVATION)
        b_dh = change * (b_up + b_dup) + value * b_dup
    tl.store(dh + own, b_dh, mask=inside)


@triton.jit
def difference(x, step, ACTIVATION: tl.constexpr):
    """Return act(x) and act(x + step) - act(x), the latter in a form that does not cancel."""
    if ACTIVATION == "silu":
        value, change = sigmoid_weighted(x, step, x, x + step, step)
    elif ACTIVATION == "gelu_tanh":
        b = x + step
        inner_step = step * TWO_C * (1.0 + (x * x + x * b + b * b) * K)
        inner_x, inner_b = x * TWO_C * (1.0 + x * x * K), b * TWO_C * (1.0 + b * b * K)
        value, change = sigmoid_weighted(x, step, inner_x, inner_b, inner_step)
    elif ACTIVATION == "gelu":
        value, change = gelu_difference(x, step)
    else:
        tl.static_assert(ACTIVATION == "relu", "no kernel for this activation")
        b = x + step
        value = tl.where(x < 0, 0.0, x)
        change = tl.where((x > 0) & (b > 0), step, tl.where(b < 0, 0.0, b) - value)
    return value, change


@triton.jit
def sigmoid_weighted(x, step, inner, shifted, inner_step):
    """Return x F and its change for F = sigmoid(inner), whose argument moves to `shifted`.

    sigmoid(b) - sigmoid(a) = -expm1(-s) sigmoid(-a) sigmoid(b) for a step s up, and
    expm1(s) sigmoid(a) sigmoid(-b) for a step down: factors in [0, 1].
    """
    down = inner_step < 0
    before, after = sigmoid(inner), sigmoid(shifted)
    fall = expm1(-tl.abs(inner_step))
    product = tl.where(down, -before * sigmoid(-shifted), sigmoid(-inner) * after)
    return x * before, step * after - x * fall * product


@triton.jit
def gelu_difference(x, step):
    """Return x Phi(x) and its change, from the normal distribution's tail Q = phi * Mills' ratio.

    On one side of 0 the way from |x| to |x + step| is the step; across 0 it has two parts.
    """
    b = x + step
    near, far = tl.abs(x), tl.abs(b)
    crosses = (x < 0) != (b < 0)
    lo = tl.where(crosses, 0.0, tl.minimum(near, far))
    hi = tl.where(crosses, far, tl.maximum(near, far))
    way = between(lo, hi, tl.where(crosses, far, tl.abs(step)))
    way += tl.where(crosses, between(tl.zeros_like(near), near, near), 0.0)
    tail_x, tail_b = density(near) * mills(near), density(far) * mills(far)
    value = x * tl.where(x < 0, tail_x, 1.0 - tail_x)
    change = step * tl.where(b < 0, tail_b, 1.0 - tail_b) + x * tl.where(step < 0, -way, way)
    return value, change


@triton.jit
def density(x):
    """Return the standard normal density."""
    return exp(-0.5 * x * x) * INVERSE_ROOT_2PI


@triton.jit
def mills(x):
    """Return Mills' ratio Q(x) / phi(x), x >= 0."""
    t = 1.0 / (1.0 + 0.25 * x)
    value, _ = mills_polynomial(t, t)
    return value


@triton.jit
def between(lo, hi, width):
    """Return Q(lo) - Q(hi) for 0 <= lo <= hi = lo + width, Q the upper tail.

    It is phi(lo) ((M(lo) - M(hi)) - M(hi) expm1((lo^2 - hi^2) / 2)), and M(lo) - M(hi) comes from
    the divided difference of M's polynomial.
    """
    t_lo, t_hi = 1.0 / (1.0 + 0.25 * lo), 1.0 / (1.0 + 0.25 * hi)
    ratio, slope = mills_polynomial(t_lo, t_hi)
    fall = slope * 0.25 * width * t_lo * t_hi
    decay = expm1(-0.5 * width * (lo + hi))
    return density(lo) * (fall - ratio * decay)


@triton.jit
def mills_polynomial(t_lo, t_hi):
    """Return M at t_hi and (M(t_lo) - M(t_hi)) / (t_lo - t_hi), also where the two t are equal.

    M is a polynomial in t = 1 / (1 + x/4) fitted to 1.2e-9 (its slope to 7e-8) for x in [0, 14].
    """
    p = tl.zeros_like(t_hi) - 3.126026474e-02
    slope = tl.zeros_like(t_lo)
    slope, p = slope * t_lo + p, p * t_hi + 2.291430334e-01
    slope, p = slope * t_lo + p, p * t_hi - 6.522314992e-01
    slope, p = slope * t_lo + p, p * t_hi + 8.839801782e-01
    slope, p = slope * t_lo + p, p * t_hi - 6.639878361e-01
    slope, p = slope * t_lo + p, p * t_hi + 5.096326927e-01
    slope, p = slope * t_lo + p, p * t_hi + 7.873941771e-03
    slope, p = slope * t_lo + p, p * t_hi + 2.414748324e-01
    slope, p = slope * t_lo + p, p * t_hi + 2.281217481e-01
    slope, p = slope * t_lo + p, p * t_hi + 2.505920059e-01
    slope, p = slope * t_lo + p, p * t_hi + 2.499753059e-01
    slope = slope * t_lo + p  # for the factor t in front of the polynomial
    return t_hi * p, slope
