"""Device code of the delta attention; `triton.py` beside it launches it.

Scores are scaled before they are stored; a soft-cap is applied where they are read, because the
difference of two capped scores needs the uncapped one.
"""

import triton
import triton.language as tl

from negkernel.ops.attention.configs import CONFIGS, KEY
from negkernel.ops.triton_math import exp, expm1, tanh, tanh_difference


@triton.jit
def base_kernel(
    q,
    k,
    v,
    prefix_k,
    prefix_v,
    prefix_start,
    score,
    score_self,
    log_sum,
    o,
    T,
    Hkv,
    D,
    scale,
    softcap,
    CAPPED: tl.constexpr,
    BLOCK_S: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    """Write what all rows of a prompt share: base scores, their log-sum-exp and the base output.

    Shapes: q [P, Hq, D]; k, v [P, Hkv, D]; prefix_k, prefix_v [T, Hkv, D]; prefix_start [P + 1]
    int64; score [Hq, T]; score_self, log_sum [P, Hq]; o [P, Hq, D]. All are contiguous, float32
    unless stated. A program owns one prompt and query head; the grid is [P, Hq].
    """
    prompt, head, Hq = tl.program_id(0), tl.program_id(1), tl.num_programs(1)
    kv_head = head // (Hq // Hkv)
    start, stop = tl.load(prefix_start + prompt), tl.load(prefix_start + prompt + 1)
    column = tl.arange(0, BLOCK_D)
    inside = column < D
    own = (prompt * Hq + head) * D + column
    shared = (prompt * Hkv + kv_head) * D + column
    b_q = tl.load(q + own, mask=inside, other=0.0)
    b_self = scale * tl.sum(b_q * tl.load(k + shared, mask=inside, other=0.0), 0)
    tl.store(score_self + prompt * Hq + head, b_self)

    top = capped(b_self, softcap, CAPPED)
    total = 1.0
    acc = tl.load(v + shared, mask=inside, other=0.0)
    for first in range(start, stop, BLOCK_S):
        token = first + tl.arange(0, BLOCK_S)
        seen = token < stop
        at = (token * Hkv + kv_head)[:, None] * D + column[None, :]
        tile = seen[:, None] & inside[None, :]
        b_k = tl.load(prefix_k + at, mask=tile, other=0.0)
        b_score = scale * tl.sum(b_k * b_q[None, :], 1)
        tl.store(score + head.to(tl.int64) * T + token, b_score, mask=seen)
        b_score = tl.where(seen, capped(b_score, softcap, CAPPED), float("-inf"))
        higher = tl.maximum(top, tl.max(b_score, 0))
        weight = tl.exp(b_score - higher)
        keep = tl.exp(top - higher)
        total = total * keep + tl.sum(weight, 0)
        b_v = tl.load(prefix_v + at, mask=tile, other=0.0)
        acc = acc * keep + tl.sum(weight[:, None] * b_v, 0)
        top = higher
    tl.store(log_sum + prompt * Hq + head, top + tl.log(total))
    tl.store(o + own, acc / total, mask=inside)


@triton.autotune(configs=CONFIGS, key=KEY, cache_results=True)
@triton.jit(do_not_specialize=["R", "T"])
def attention_kernel(
    q,
    k,
    v,
    dq,
    dk,
    dv,
    prefix_k,
    prefix_v,
    prefix_start,
    row_prompt,
    score,
    score_self,
    log_sum,
    o,
    do,
    R,
    T,
    Hkv,
    G,
    D,
    scale,
    softcap,
    CAPPED: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_S: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    """Write do, the difference of the heads' outputs; nothing of size rows x heads x S is stored.

    Shapes beside those of `base_kernel`, which must have run: dq, do [R, Hq, D]; dk, dv
    [R, Hkv, D]; row_prompt [R] int64, sorted; Hq = Hkv * G. A program owns BLOCK_M consecutive
    pairs (row, query head) of one key head, so that they share every key and value tile; rows of
    several prompts in one block visit the prompts in turn. The grid is [ceil(R * G / BLOCK_M),
    Hkv]. Products and sums are float32.
    """
    pair = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    kv_head = tl.program_id(1)
    owned = pair < R * G
    row, head, Hq = (pair // G).to(tl.int64), kv_head * G + pair % G, Hkv * G
    prompt = tl.load(row_prompt + row, mask=owned, other=0)
    first_prompt = tl.load(row_prompt + tl.program_id(0) * BLOCK_M // G)
    last_pair = tl.minimum(tl.program_id(0) * BLOCK_M + BLOCK_M, R * G) - 1
    last_prompt = tl.load(row_prompt + last_pair // G)
    column = tl.arange(0, BLOCK_D)
    inside = owned[:, None] & (column < D)[None, :]
    own = (row * Hq + head)[:, None] * D + column[None, :]
    base = (prompt * Hq + head)[:, None] * D + column[None, :]
    b_dq = tl.load(dq + own, mask=inside, other=0.0)
    b_log_sum = tl.load(log_sum + prompt * Hq + head, mask=owned, other=0.0)

    # The token itself: its key and value differ from row to row.
    own_kv = (row * Hkv + kv_head)[:, None] * D + column[None, :]
    base_kv = (prompt * Hkv + kv_head)[:, None] * D + column[None, :]
    b_q = tl.load(q + base, mask=inside, other=0.0)
    b_dk = tl.load(dk + own_kv, mask=inside, other=0.0)
    b_k = tl.load(k + base_kv, mask=inside, other=0.0)
    b_v = tl.load(v + base_kv, mask=inside, other=0.0)
    d_self = scale * tl.sum(b_dq * b_k + (b_q + b_dq) * b_dk, 1)
    b_self = tl.load(score_self + prompt * Hq + head, mask=owned, other=0.0)
    logp_self, d_self = weigh(b_self, d_self, b_log_sum, softcap, CAPPED)
    p_self = exp(logp_self)

    # E = sum p expm1(dS) and A = sum p expm1(dS) v over the prefix tokens of each pair's prompt.
    E = p_self * expm1(d_self)
    A = E[:, None] * b_v
    for p in range(first_prompt, last_prompt + 1):
        stop = tl.load(prefix_start + p + 1)
        for first in range(tl.load(prefix_start + p), stop, BLOCK_S):
            token = first + tl.arange(0, BLOCK_S)
            at = (token * Hkv + kv_head)[:, None] * D + column[None, :]
            tile = (token < stop)[:, None] & (column < D)[None, :]
            here = (owned & (prompt == p))[:, None] & (token < stop)[None, :]
            at_score = head.to(tl.int64)[:, None] * T + token[None, :]
            keys = tl.load(prefix_k + at, mask=tile, other=0.0)
            values = tl.load(prefix_v + at, mask=tile, other=0.0)
            base_score = tl.load(score + at_score, mask=here, other=0.0)
            change = scale * tl.dot(b_dq, tl.trans(keys), input_precision=PRECISION)
            logp, change = weigh(base_score, change, b_log_sum[:, None], softcap, CAPPED)
            gain = tl.where(here, exp(logp) * expm1(change), 0.0)
            E += tl.sum(gain, 1)
            A += tl.dot(gain, values, input_precision=PRECISION)
    b_o = tl.load(o + base, mask=inside, other=0.0)
    b_dv = tl.load(dv + own_kv, mask=inside, other=0.0)
    b_do = (A - E[:, None] * b_o + (p_self * exp(d_self))[:, None] * b_dv) / (1.0 + E)[:, None]

    # Where the mass moves, 1 + E cancels or overflows: there a softmax with a running maximum. An E
    # that is not a number fails the comparison and goes the same way.
    small = tl.abs(E) <= 0.5
    if tl.min(small.to(tl.int32), 0) == 0:
        top = logp_self + d_self
        total = tl.zeros_like(top) + 1.0
        acc = b_v + b_dv
        for p in range(first_prompt, last_prompt + 1):
            stop = tl.load(prefix_start + p + 1)
            for first in range(tl.load(prefix_start + p), stop, BLOCK_S):
                token = first + tl.arange(0, BLOCK_S)
                at = (token * Hkv + kv_head)[:, None] * D + column[None, :]
                tile = (token < stop)[:, None] & (column < D)[None, :]
                here = (owned & (prompt == p))[:, None] & (token < stop)[None, :]
                at_score = head.to(tl.int64)[:, None] * T + token[None, :]
                keys = tl.load(prefix_k + at, mask=tile, other=0.0)
                values = tl.load(prefix_v + at, mask=tile, other=0.0)
                base_score = tl.load(score + at_score, mask=here, other=0.0)
                change = scale * tl.dot(b_dq, tl.trans(keys), input_precision=PRECISION)
                logp, change = weigh(base_score, change, b_log_sum[:, None], softcap, CAPPED)
                shifted = tl.where(here, logp + change, float("-inf"))
                higher = tl.maximum(top, tl.max(shifted, 1))
                weight = tl.exp(shifted - higher[:, None])
                keep = tl.exp(top - higher)
                total = total * keep + tl.sum(weight, 1)
                acc = acc * keep[:, None] + tl.dot(weight, values, input_precision=PRECISION)
                top = higher
        b_do = tl.where(small[:, None], b_do, acc / total[:, None] - b_o)
    tl.store(do + own, b_do, mask=inside)


@triton.jit
def capped(score, softcap, CAPPED: tl.constexpr):
    """Return the score as the softmax reads it."""
    if CAPPED:
        score = softcap * tanh(score / softcap)
    return score


@triton.jit
def weigh(score, dscore, log_sum, softcap, CAPPED: tl.constexpr):
    """Return the base log-weight and the difference of the score as the softmax reads it."""
    if CAPPED:
        step = dscore / softcap
        dscore = softcap * tanh_difference(score / softcap, score / softcap + step, step)
        score = capped(score, softcap, CAPPED)
    return score - log_sum, dscore
