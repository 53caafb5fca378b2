"""Each rule against f(b + d) - f(b) in float64, and in float32 where the difference is tiny."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from negkernel.families.projection import Precision
from negkernel.methods.generic import Carried, Run, running

R, SHAPE = 3, (2, 4, 6)
WEIGHT = torch.randn(5, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
PLAIN = torch.randn(SHAPE, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
INDEX = torch.tensor([[[0, 2], [1, 1], [5, 0], [3, 4]]]).expand(2, 4, 2)
MASK = torch.rand(SHAPE, generator=torch.Generator().manual_seed(3)) > 0.5
UNARY = {
    "add": lambda x: x + 1.5,
    "from": lambda x: 2 - x,
    "scaled": lambda x: 3 * x / 7,
    "minus": lambda x: torch.sub(x, PLAIN.to(x), alpha=2),
    "times a constant": lambda x: x * PLAIN.to(x)[0],
    "its own product": lambda x: x * x.flip(-1),
    "over": lambda x: x / (4 + x.flip(-1) ** 2),
    "under": lambda x: 1 / (4 + x**2),
    "linear": lambda x: F.linear(x, WEIGHT.to(x), WEIGHT[:, 0].to(x)),
    "matmul": lambda x: x @ x.mT,
    "constant left": lambda x: WEIGHT[:, :4].to(x) @ x,
    "einsum": lambda x: torch.einsum("abc,abd->acd", x, x.sin()),
    "square": lambda x: x.pow(2),
    "cube": lambda x: x**3,
    "root": lambda x: (x**2 + 0.1).sqrt(),
    "rsqrt": lambda x: torch.rsqrt(x**2 + 0.1),
    "norm by hand": lambda x: x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6),
    "rms_norm": lambda x: F.rms_norm(x, (6,), WEIGHT[0].to(x), 1e-6),
    "layer_norm": lambda x: F.layer_norm(x, (6,), WEIGHT[0].to(x), WEIGHT[1].to(x)),
    "var": lambda x: x.var(-1, unbiased=False, keepdim=True),
    "length": lambda x: x.norm(dim=-1, keepdim=True),
    "softmax": lambda x: x.softmax(-1),
    "softmax of another axis": lambda x: F.softmax(x, dim=1),
    "log_softmax": lambda x: F.log_softmax(x, dim=-1),
    "logsumexp": lambda x: torch.logsumexp(x, -1),
    "silu": F.silu,
    "gelu": F.gelu,
    "gelu tanh": lambda x: F.gelu(x, approximate="tanh"),
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "exp": torch.exp,
    "log": lambda x: torch.log(x**2 + 0.1),
    "erf": torch.erf,
    "softplus": F.softplus,
    "abs": torch.abs,
    "sin": torch.sin,
    "cos": torch.cos,
    "clamp": lambda x: x.clamp(-0.5, 0.7),
    "cap": lambda x: 5 * torch.tanh(x / 5),
    "views": lambda x: x.view(2, 2, 2, 6).transpose(1, 2).reshape(4, -1)[:, 3:].unsqueeze(1),
    "halves": lambda x: torch.cat([-x[..., 3:], x[..., :3]], -1),
    "chunks": lambda x: torch.stack(x.chunk(2, -1)).permute(1, 0, 2, 3),
    "sums": lambda x: x.sum(1) + x.mean(1),
    "gather": lambda x: x.gather(-1, INDEX),
    "where": lambda x: torch.where(MASK, x, -2 * x),
    "where it is positive": lambda x: torch.where(x > 0.1, x, 3 * x),
    "masked": lambda x: x.masked_fill(MASK, -3.0),
    "top": lambda x: x.topk(2, dim=-1)[0],
    "written": lambda x: _written(x),
    "in place": lambda x: (x * 2).add_(x).mul_(3),
    "padded": lambda x: F.pad(x, (1, 2), value=4.0),
    "no rule": lambda x: torch.atan(x),
}
# What chooses or computes twice does not promise digits of a tiny difference in float32.
CHOICES = {"where it is positive", "top"}


def _written(x):
    out = x.new_zeros(*x.shape[:-1], 8)
    out[..., :6].copy_(x)
    out[..., 6:] = x[..., :2]
    return out


def draws(dtype, scale):
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(SHAPE, generator=generator, dtype=torch.float64)
    rows = torch.randn(R, *SHAPE, generator=generator, dtype=torch.float64) * scale
    rows[0, 0] = 0
    # Twice the same base: rows that are not contiguous, and one that mirrors its base.
    rows[1, 1] = -2 * base[1] * min(scale, 1)
    return base.to(dtype), rows.to(dtype).mT.contiguous().mT


def run(function, base, rows):
    with running(Run(Precision(base.dtype, base.dtype))) as counted, torch.no_grad():
        return function(Carried(base, rows)), counted


@pytest.mark.parametrize("scale", [1e-6, 0.3, 20.0])
@pytest.mark.parametrize("name", UNARY)
def test_float64(name, scale):
    base, rows = draws(torch.float64, scale)
    found, counted = run(UNARY[name], base, rows)
    truth = torch.stack([UNARY[name](base + row) for row in rows])
    assert found.base.equal(UNARY[name](base))
    assert found.dense().shape == truth.shape
    size = truth.abs().amax() + found.base.abs().amax()
    # Rounding of float64, and what exponentials make of it.
    assert (found.base + found.dense() - truth).abs().max() <= 1e-11 * size
    assert set(counted.fallen) == ({"atan"} if name == "no rule" else set())


@pytest.mark.parametrize("name", sorted(set(UNARY) - CHOICES))
def test_tiny_differences_in_float32_keep_their_digits(name):
    base, rows = draws(torch.float32, 1e-8)
    found, _ = run(UNARY[name], base, rows)
    wide = base.double()
    exact, _ = run(UNARY[name], wide, rows.double())
    off = (found.dense().double() - exact.dense()).abs().amax()
    # A form that subtracts base values would be off by 1e-7 of the base, ten times the difference.
    assert off <= 3e-5 * exact.dense().abs().amax()


def test_attention_to_a_prefix_is_attention_to_all():
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    q, k, v = draw(1, 4, 2, 8), draw(1, 2, 7, 8), draw(1, 2, 7, 8)
    dq, dk, dv = draw(R, 1, 4, 2, 8), draw(R, 1, 2, 2, 8), draw(R, 1, 2, 2, 8)
    mask = torch.ones(2, 7, dtype=torch.bool).tril(5)

    def whole(x):
        return F.pad(x, (0, 0, 5, 0))

    def attend(q, k, v):
        k, v = (x[:, :, None].expand(1, 2, 2, 7, 8).reshape(1, 4, 7, 8) for x in (k, v))
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)

    with running(Run(Precision(torch.float64, torch.float64))):
        found = attend(Carried(q, dq), Carried(k, dk, 5), Carried(v, dv, 5))
    truth = torch.stack([attend(q + dq[r], k + whole(dk[r]), v + whole(dv[r])) for r in range(R)])
    assert (found.values() - truth).abs().max() < 1e-13


@pytest.mark.parametrize(
    ("function", "match"),
    [
        (lambda x: x if x.sum() > 0 else -x, "differ between rows"),
        (lambda x: torch.zeros(SHAPE).add_(x), "plain tensor"),
        (lambda x: x.view(-1).mul_(2), "view"),
        (lambda x: x[x > 0], "how many entries"),
        (lambda x: x.cpu().numpy(), "differ between rows"),
    ],
)
def test_what_rows_cannot_follow_is_refused_by_name(function, match):
    base, rows = draws(torch.float64, 3.0)
    with pytest.raises(NotImplementedError, match=match):
        run(function, base, rows)
