"""Delta attention of whole prompts against the difference of two plain attentions."""

import pytest
import torch
import torch.nn.functional as F

from negkernel.masked.trace import window_mask
from negkernel.masked.vjp import attention_vjp
from negkernel.ops.attention_full import attention_full

HEADS, D = 3, 8
SCALE = D**-0.5


def inputs(S, Q, counts, step, dtype=torch.float64):
    P, R = len(counts), sum(counts)
    q, k, v = (torch.randn(n, P, HEADS, D, dtype=dtype) for n in (Q, S, S))
    dq, dk, dv = (step * torch.randn(n, R, HEADS, D, dtype=dtype) for n in (Q, S, S))
    row_prompt = torch.arange(P).repeat_interleave(torch.tensor(counts))
    return q, k, v, dq, dk, dv, row_prompt


def plain(q, k, v, dq, dk, dv, row_prompt, mask=None):
    def of(*tensors):
        q, k, v = (t.permute(1, 2, 0, 3) for t in tensors)
        seen = None if mask is None else mask[row_prompt][:, None]
        return F.scaled_dot_product_attention(q, k, v, seen, scale=SCALE).permute(2, 0, 1, 3)

    q, k, v = (t[:, row_prompt] for t in (q, k, v))
    return of(q + dq, k + dk, v + dv) - of(q, k, v)


@pytest.mark.parametrize("step", [1e-6, 1.0, 30.0])
@pytest.mark.parametrize("counts", [(1,), (3, 0, 5)], ids=["one", "ragged"])
@pytest.mark.parametrize(("S", "Q"), [(1, 1), (7, 7), (7, 1)])
def test_equals_the_plain_difference(S, Q, counts, step):
    arguments = inputs(S, Q, counts, step)
    got = attention_full(*arguments, scale=SCALE)
    expected = plain(*arguments)
    assert (got - expected).abs().max() <= 1e-13 * max(1.0, step)


@pytest.mark.parametrize("step", [1e-3, 30.0])
def test_hidden_keys_stay_hidden(step):
    q, k, v, dq, dk, dv, row_prompt = inputs(9, 9, (2, 3), step)
    mask = window_mask(9, 3, q.device).expand(2, 9, 9)
    got = attention_full(q, k, v, dq, dk, dv, row_prompt, scale=SCALE, mask=mask)
    expected = plain(q, k, v, dq, dk, dv, row_prompt, mask)
    assert (got - expected).abs().max() <= 1e-13 * step.__ceil__()
    dk[8], dv[8] = 1e4, 1e4  # nobody but positions 6 to 8 sees the last one
    far = attention_full(q, k, v, dq, dk, dv, row_prompt, scale=SCALE, mask=mask)
    assert torch.equal(far[:6], got[:6])


def test_small_differences_keep_their_digits():
    exact = inputs(16, 16, (4,), 1e-6)
    single = [t.float() if t.is_floating_point() else t for t in exact]
    rounded = [t.double() if t.is_floating_point() else t for t in single]
    truth = plain(*rounded)
    error = (attention_full(*single, scale=SCALE).double() - truth).abs().max() / truth.abs().max()
    plain_error = (plain(*single).double() - truth).abs().max() / truth.abs().max()
    assert error < 2e-6
    assert plain_error > 1e4 * error


@pytest.mark.usefixtures("nan_filled")
def test_every_element_is_written():
    assert attention_full(*inputs(5, 5, (2, 0, 3), 1.0), scale=SCALE).isfinite().all()


def test_refuses_wrong_shapes_and_dtypes():
    arguments = list(inputs(4, 4, (2,), 1.0))
    with pytest.raises(ValueError, match="attention_full: dk has shape"):
        attention_full(*arguments[:4], arguments[4][:3], *arguments[5:], scale=SCALE)
    with pytest.raises(TypeError, match=r"attention_full: dv is torch\.float16"):
        attention_full(*arguments[:5], arguments[5].half(), arguments[6], scale=SCALE)


@pytest.mark.parametrize("Q", [6, 1])
@pytest.mark.parametrize("window", [None, 2])
def test_vjp_equals_autograd(Q, window):
    q, k, v, *_ = inputs(6, Q, (1, 1), 0.0)
    mask = window_mask(6, window, q.device)
    mask = None if mask is None else mask[:Q].expand(2, Q, 6)
    row_prompt = torch.tensor([0, 0, 1])
    g = torch.randn(Q, 3, HEADS, D, dtype=q.dtype)
    got = attention_vjp(q, k, v, g, row_prompt, scale=SCALE, mask=mask)

    leaves = [t[:, row_prompt].clone().requires_grad_() for t in (q, k, v)]
    heads = (t.permute(1, 2, 0, 3) for t in leaves)
    seen = None if mask is None else mask[row_prompt][:, None]
    out = F.scaled_dot_product_attention(*heads, seen, scale=SCALE).permute(2, 0, 1, 3)
    for one, expected in zip(got, torch.autograd.grad(out, leaves, g), strict=True):
        assert (one - expected).abs().max() < 1e-13
