"""Device code of the injection; `triton.py` beside it launches it."""

import triton
import triton.language as tl


@triton.jit
def shift_kernel(columns, row_column, coefficient, d, H, BLOCK_H: tl.constexpr):
    """Write d[r] = coefficient[r] * columns[row_column[r]].

    Shapes: columns [U, H]; row_column [R] int64; coefficient [R]; d [R, H]; contiguous, float32
    unless stated. A program owns BLOCK_H elements of one row; the grid is [R, ceil(H / BLOCK_H)].
    """
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK_H + tl.arange(0, BLOCK_H)
    inside = column < H
    source = tl.load(row_column + row)
    b_column = tl.load(columns + source * H + column, mask=inside, other=0.0)
    tl.store(d + row * H + column, tl.load(coefficient + row) * b_column, mask=inside)
