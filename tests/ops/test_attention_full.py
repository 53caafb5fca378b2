"""Delta attention of several positions against the difference of two plain attentions."""

import pytest
import torch
import torch.nn.functional as F

from negkernel.delta.vjp import positions_vjp
from negkernel.ops.attention_full import attention_full

HEADS, D = 6, 8
SCALE = D**-0.5
# Rows, keys that do not change, keys that do, queries: a whole prompt both ways, its one wanted
# position, a run behind a prefix, one changed key, a prompt of one token.
SHAPES = [(3, 0, 7, 7), (3, 0, 7, 1), (2, 5, 3, 3), (4, 6, 1, 5), (1, 0, 1, 1)]


def inputs(R, M, C, Q, step, kv_heads=HEADS, dtype=torch.float64):
    def random(*shape):
        return torch.randn(*shape, D, dtype=dtype)

    q, k, v = random(Q, HEADS), random(M + C, kv_heads), random(M + C, kv_heads)
    dq, dk, dv = random(Q, R, HEADS), random(C, R, kv_heads), random(C, R, kv_heads)
    return q, k, v, step * dq, step * dk, step * dv


def heads(q, k, v, softcap=None, mask=None):
    """Attention of [n, R, heads, D], written out."""
    group = q.shape[2] // k.shape[2]
    q, k, v = (x.permute(1, 2, 0, 3) for x in (q, k, v))
    k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
    score = SCALE * (q @ k.mT)
    score = score if softcap is None else softcap * torch.tanh(score / softcap)
    score = score if mask is None else score.masked_fill(~mask, -torch.inf)
    return (score.softmax(-1) @ v).permute(2, 0, 1, 3)


def plain(q, k, v, dq, dk, dv, softcap=None, mask=None):
    R, M = dk.shape[1], len(k) - len(dk)
    q, k, v = (x[:, None].expand(-1, R, -1, -1) for x in (q, k, v))
    dk, dv = (F.pad(x, (0, 0, 0, 0, 0, 0, M, 0)) for x in (dk, dv))
    return heads(q + dq, k + dk, v + dv, softcap, mask) - heads(q, k, v, softcap, mask)


def window(Q, S, width):
    """Queries are the last Q of S positions and see those at distances below ``width``."""
    return (torch.arange(S - Q, S)[:, None] - torch.arange(S)).abs() < width


@pytest.mark.parametrize("step", [1e-6, 1.0, 30.0])
@pytest.mark.parametrize("softcap", [None, 2.0])
@pytest.mark.parametrize("kv_heads", [6, 2])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_equals_the_plain_difference(shape, kv_heads, softcap, step):
    arguments = inputs(*shape, step, kv_heads)
    got = attention_full(*arguments, scale=SCALE, softcap=softcap)
    expected = plain(*arguments, softcap)
    assert (got - expected).abs().max() <= 1e-13 * max(1.0, step)


@pytest.mark.parametrize("step", [1e-3, 30.0])
@pytest.mark.parametrize("kv_heads", [6, 3])
@pytest.mark.parametrize(("M", "C", "Q"), [(0, 9, 9), (4, 5, 5)])
def test_hidden_keys_stay_hidden(M, C, Q, kv_heads, step):
    q, k, v, dq, dk, dv = inputs(3, M, C, Q, step, kv_heads)
    mask = window(Q, M + C, 3)
    got = attention_full(q, k, v, dq, dk, dv, scale=SCALE, mask=mask)
    expected = plain(q, k, v, dq, dk, dv, mask=mask)
    assert (got - expected).abs().max() <= 1e-13 * step.__ceil__()
    dk[-1], dv[-1] = 1e4, 1e4  # nobody but the last three positions sees the last one
    far = attention_full(q, k, v, dq, dk, dv, scale=SCALE, mask=mask)
    assert torch.equal(far[:-3], got[:-3])


def test_small_differences_keep_their_digits():
    exact = inputs(4, 0, 16, 16, 1e-6)
    single = [t.float() for t in exact]
    truth = plain(*(t.double() for t in single))
    error = (attention_full(*single, scale=SCALE).double() - truth).abs().max() / truth.abs().max()
    plain_error = (plain(*single).double() - truth).abs().max() / truth.abs().max()
    assert error < 2e-6
    assert plain_error > 1e4 * error


@pytest.mark.usefixtures("nan_filled")
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_element_is_written(shape):
    assert attention_full(*inputs(*shape, 1.0, 2), scale=SCALE).isfinite().all()


def test_refuses_wrong_shapes_and_dtypes():
    arguments = list(inputs(2, 0, 4, 4, 1.0))
    with pytest.raises(ValueError, match="attention_full: dv has shape"):
        attention_full(*arguments[:5], arguments[5][:3], scale=SCALE)
    with pytest.raises(TypeError, match=r"attention_full: dv is torch\.float16"):
        attention_full(*arguments[:5], arguments[5].half(), scale=SCALE)
    with pytest.raises(ValueError, match="6 query heads are no multiple of 4"):
        attention_full(*inputs(1, 0, 4, 4, 1.0, kv_heads=4), scale=SCALE)


@pytest.mark.parametrize("softcap", [None, 2.0])
@pytest.mark.parametrize("width", [None, 2])
@pytest.mark.parametrize("kv_heads", [6, 2])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_vjp_equals_autograd(shape, kv_heads, width, softcap):
    R, M, C, Q = shape
    q, k, v, *_ = inputs(R, M, C, Q, 0.0, kv_heads)
    mask = None if width is None else window(Q, M + C, width)
    g = torch.randn(Q, R, HEADS, D, dtype=q.dtype)
    got = positions_vjp(q, (k, v), C, g, scale=SCALE, softcap=softcap, mask=mask)

    leaves = [x[:, None].repeat(1, R, 1, 1).requires_grad_() for x in (q, k, v)]
    expected = torch.autograd.grad(heads(*leaves, softcap, mask), leaves, g)
    for one, whole in zip(got, expected, strict=True):
        assert (one - whole[-len(one) :]).abs().max() < 1e-13
