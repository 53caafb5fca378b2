"""Device code of the delta log-prob; `triton.py` beside it launches it."""

import triton
import triton.language as tl

from negkernel.ops.logprob.configs import KEY, configs
from negkernel.ops.triton_math import exp, expm1, tanh_difference


@triton.jit(do_not_specialize=["R"])
def logprob_kernel(
    dn,
    weight,
    base_logprob,
    base_logits,
    targets,
    row_prompt,
    sums,
    dz_target,
    R,
    V,
    H,
    K,
    share,
    scale,
    softcap,
    CAPPED: tl.constexpr,
    INTERPRETED: tl.constexpr,
    GROUP: tl.constexpr,
    BLOCK_R: tl.constexpr,
    BLOCK_V: tl.constexpr,
    BLOCK_H: tl.constexpr,
):
    """Write dz of the targets and, per row and part of the vocabulary, the sums over all tokens.

    Shapes: dn [R, H] and weight [V, H], both float32, bfloat16 or float16, products accumulated in
    float32; base_logprob, base_logits [P, V]; targets [P, K], row_prompt [R] int64; sums
    [ceil(V / share), 3, R]: E = sum p expm1(dz), and M, Z with sum p exp(dz) = Z e^M; dz_target
    [R, K]. All are contiguous, float32 unless stated; base_logits may be None without a soft-cap.
    A program owns BLOCK_R rows and `share` vocabulary entries, a multiple of BLOCK_V; the grid is
    [ceil(R / BLOCK_R) * ceil(V / share)]. GROUP row blocks take all parts of the vocabulary before
    the next GROUP begins, so that their rows stay in the L2 cache. Each element of sums and
    dz_target has one writer.
    """
    row_blocks, parts = tl.cdiv(R, BLOCK_R), tl.cdiv(V, share)
    group = tl.program_id(0) // (GROUP * parts)
    blocks = tl.minimum(row_blocks - group * GROUP, GROUP)
    within = tl.program_id(0) - group * GROUP * parts
    part = within // blocks
    row = (group * GROUP + within % blocks) * BLOCK_R + tl.arange(0, BLOCK_R)
    owned = row < R
    # Rows beyond the last stand on its prompt, so that they make no block look mixed.
    prompt = tl.load(row_prompt + tl.minimum(row, R - 1))
    lowest, highest = tl.min(prompt, 0), tl.max(prompt, 0)
    E = tl.zeros([BLOCK_R], tl.float32)
    Z = tl.zeros([BLOCK_R], tl.float32)
    M = tl.full([BLOCK_R], float("-inf"), tl.float32)
    for first in range(part * share, tl.minimum((part + 1) * share, V), BLOCK_V):
        token = first + tl.arange(0, BLOCK_V)
        dz = tl.zeros([BLOCK_R, BLOCK_V], tl.float32)
        for h in range(0, H, BLOCK_H):
            column = h + tl.arange(0, BLOCK_H)
            rows_at = row.to(tl.int64)[:, None] * H + column[None, :]
            b_dn = tl.load(dn + rows_at, mask=owned[:, None] & (column < H)[None, :], other=0.0)
            head_at = token.to(tl.int64)[None, :] * H + column[:, None]
            in_head = (token < V)[None, :] & (column < H)[:, None]
            b_weight = tl.load(weight + head_at, mask=in_head, other=0.0)
            if INTERPRETED:  # whose products of bfloat16 are products of their bits
                b_dn, b_weight = b_dn.to(tl.float32), b_weight.to(tl.float32)
            dz = tl.dot(b_dn, b_weight, dz, input_precision="ieee")
        dz *= scale
        base = base_logprob, base_logits, token, V, scale, softcap
        # Rows of one prompt, the usual block, share one vector of base values. A tile of them, a
        # value for each element of dz, hardly fits in the registers beside it.
        if lowest == highest:
            dz, E, M, Z = read(dz, E, M, Z, (lowest * V + token)[None, :], *base, CAPPED)
        else:
            dz, E, M, Z = read(dz, E, M, Z, prompt[:, None] * V + token[None, :], *base, CAPPED)
        for k in range(K):
            target = tl.load(targets + prompt * K + k)
            here = owned & (target >= first) & (target < tl.minimum(first + BLOCK_V, V))
            if tl.max(here.to(tl.int32), 0) > 0:
                value = tl.sum(tl.where(token[None, :] == target[:, None], dz, 0.0), 1)
                tl.store(dz_target + row.to(tl.int64) * K + k, value, mask=here)
    at_sums = sums + part.to(tl.int64) * 3 * R + row
    tl.store(at_sums, E, mask=owned)
    tl.store(at_sums + R, M, mask=owned)
    tl.store(at_sums + 2 * R, Z, mask=owned)


@triton.jit
def read(
    dz, E, M, Z, at, base_logprob, base_logits, token, V, scale, softcap, CAPPED: tl.constexpr
):
    """Return dz as the softmax reads it, and the sums with this tile of the vocabulary added.

    The base values lie `at` [1, BLOCK_V] or [BLOCK_R, BLOCK_V]. Beyond the vocabulary dz is 0.
    """
    inside = (token < V)[None, :]
    if CAPPED:
        before = tl.load(base_logits + at, mask=inside, other=0.0) * (scale / softcap)
        step = dz / softcap
        dz = softcap * tanh_difference(before, before + step, step)
    logp = tl.load(base_logprob + at, mask=inside, other=float("-inf"))
    E += tl.sum(tl.where(inside, exp(logp), 0.0) * expm1(dz), 1)
    shifted = logp + dz
    higher = tl.maximum(M, tl.max(shifted, 1))
    # Tokens that cannot be: e^(-inf - (-inf)) would be no number.
    reference = tl.where(higher == float("-inf"), 0.0, higher)
    Z = Z * tl.exp(M - reference) + tl.sum(tl.exp(shifted - reference[:, None]), 1)
    return dz, E, higher, Z


tuned_for_half = triton.autotune(configs=configs(half=True), key=KEY, cache_results=True)(
    logprob_kernel
)
tuned_for_float32 = triton.autotune(configs=configs(half=False), key=KEY, cache_results=True)(
    logprob_kernel
)
