"""Device code of the delta norm; `triton.py` beside it launches it."""

import triton
import triton.language as tl


@triton.jit
def norm_kernel(
    x,
    d,
    branch,
    weight,
    row_prompt,
    dn,
    R,
    heads,
    H,
    eps,
    LAYER: tl.constexpr,
    BLOCK_R: tl.constexpr,
    BLOCK_H: tl.constexpr,
):
    """Write dn and, with a branch, d + branch into d: one read and one write of each.

    Shapes: x [P, heads, H]; d, branch, dn [R, heads, H]; weight [H]; row_prompt [R] int64. All are
    contiguous, float32 unless stated; branch and weight may be None. A program owns BLOCK_R of the
    R * heads vectors and holds them whole: BLOCK_H >= H is a power of two. Sums are float32.
    """
    vector = (tl.program_id(0) * BLOCK_R + tl.arange(0, BLOCK_R)).to(tl.int64)
    column = tl.arange(0, BLOCK_H)
    owned = vector < R * heads
    inside = owned[:, None] & (column < H)[None, :]
    prompt = tl.load(row_prompt + vector // heads, mask=owned, other=0)
    own = vector[:, None] * H + column[None, :]
    base = (prompt * heads + vector % heads)[:, None] * H + column[None, :]

    b_d = tl.load(d + own, mask=inside, other=0.0)
    if branch is not None:
        b_d += tl.load(branch + own, mask=inside, other=0.0)
        tl.store(d + own, b_d, mask=inside)
    b_x = tl.load(x + base, mask=inside, other=0.0)
    if LAYER:
        b_x = tl.where(inside, b_x - (tl.sum(b_x, 1) / H)[:, None], 0.0)
        b_d = tl.where(inside, b_d - (tl.sum(b_d, 1) / H)[:, None], 0.0)

    # The second moment is taken afresh: m0 + dm would cancel where d is close to -x.
    shifted = b_x + b_d
    m0 = tl.sum(b_x * b_x, 1) / H + eps
    m1 = tl.sum(shifted * shifted, 1) / H + eps
    dm = tl.sum(b_d * (2.0 * b_x + b_d), 1) / H
    s0, s1 = 1.0 / tl.sqrt(m0), 1.0 / tl.sqrt(m1)
    ds = -dm * s0 * s0 * s1 * s1 / (s0 + s1)
    b_dn = b_d * s1[:, None] + b_x * ds[:, None]
    if weight is not None:
        b_dn *= tl.load(weight + column, mask=column < H, other=0.0)[None, :]
    tl.store(dn + own, b_dn, mask=inside)
