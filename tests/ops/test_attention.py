"""Delta attention: reference against two full softmaxes, C++ against the reference."""

import pytest
import torch
from ops_inputs import double, rows_of

from negkernel.ops import attention
from negkernel.testing.compare import assert_close

# Query heads, key heads, head size; prefix lengths, each with its number of rows. Length 0 is a
# prompt of one token.
CASES = {
    "mha": ((4, 4, 64), (48, 3, 0, 63), (70, 0, 5, 2)),
    "gqa": ((6, 2, 20), (0, 1, 200, 7), (1, 3, 65, 2)),
    "mqa": ((8, 1, 7), (31, 32, 33, 15), (1, 1, 64, 63)),
    "one": ((1, 1, 1), (1000,), (1,)),
}
cases = pytest.mark.parametrize("case", CASES)
softcaps = pytest.mark.parametrize("softcap", [None, 5.0])
NAMES = ("q", "k", "v", "dq", "dk", "dv", "prefix_k", "prefix_v", "prefix_start", "row_prompt")


def inputs(case, step):
    (Hq, Hkv, D), lengths, counts = CASES[case]
    P, R, T = len(lengths), sum(counts), sum(lengths)
    base = [torch.randn(P, heads, D) for heads in (Hq, Hkv, Hkv)]
    rows = [step * torch.randn(R, heads, D) for heads in (Hq, Hkv, Hkv)]
    prefix = list(torch.randn(2, T, Hkv, D))
    start = torch.tensor([0, *lengths]).cumsum(0)
    return (*base, *rows, *prefix, start, rows_of(*counts))


def plain(arguments, scale, softcap):
    """Return attention(shifted) - attention(base), every row with its own keys, and an error scale.

    The scale [R, Hq, 1] is what a relative error of the inputs of 1 would do: to the difference of
    the scores, weighted by the values they choose between, and to dv.
    """
    a = dict(zip(NAMES, arguments, strict=True))
    G = a["q"].shape[1] // a["k"].shape[1]

    def attend(q, keys, values):  # [r, Hq, D], [r, S, Hq, D] twice
        score = scale * torch.einsum("rhd,rshd->rhs", q, keys)
        if softcap is not None:
            score = softcap * torch.tanh(score / softcap)
        return torch.einsum("rhs,rshd->rhd", score.softmax(-1), values)

    out, size = [], []
    for p in a["row_prompt"].unique().tolist():
        rows = a["row_prompt"] == p
        own = slice(a["prefix_start"][p], a["prefix_start"][p + 1])
        q, dq = a["q"][p], a["dq"][rows]
        k, v, prefix_k, prefix_v, dk, dv = (
            tensor.repeat_interleave(G, -2)
            for tensor in (
                *(a["k"][p], a["v"][p], a["prefix_k"][own], a["prefix_v"][own]),
                *(a["dk"][rows], a["dv"][rows]),
            )
        )

        def with_self(prefix, last):
            return torch.cat([prefix.expand(len(last), *prefix.shape), last[:, None]], 1)

        keys, values = with_self(prefix_k, k[None]), with_self(prefix_v, v[None])
        shifted = attend(q + dq, with_self(prefix_k, k + dk), with_self(prefix_v, v + dv))
        out.append(shifted - attend(q[None], keys, values))

        moved = torch.einsum("rhd,shd->rhs", dq.abs(), keys[0].abs()).amax(-1)
        moved += ((q.abs() + dq.abs()) * dk.abs()).sum(-1)
        size.append(scale * moved * values.abs().amax((0, 1, 3)) + dv.abs().amax(-1))
    return torch.cat(out), torch.cat(size)[..., None]


@cases
@softcaps
@pytest.mark.parametrize("step", [1e-4, 1.0, 50.0])
def test_reference_is_the_plain_difference_in_float64(case, softcap, step):
    arguments = double(*inputs(case, step))
    expected, size = plain(arguments, 0.3, softcap)
    got = attention(*arguments, scale=0.3, softcap=softcap)
    assert_close(got, expected, budget=1e-14 + 1e-14 * size)


@cases
@softcaps
@pytest.mark.parametrize("step", [1e-4, 1e-2, 1.0, 50.0])
def test_cpp_within_budget(case, softcap, step, isa, nan_filled):
    arguments, scale = inputs(case, step), CASES[case][0][2] ** -0.5
    truth = attention(*double(*arguments), scale=scale, softcap=softcap, impl="reference")
    got = attention(*arguments, scale=scale, softcap=softcap, impl="cpp")
    eager, _ = plain(arguments, scale, softcap)
    _, size = plain(double(*arguments), scale, softcap)
    allowed = 2 * (eager.double() - truth).abs() + 1e-6 * size
    assert_close(got.double(), truth, budget=allowed)


@pytest.mark.parametrize("impl", ["reference", "cpp"])
@pytest.mark.parametrize("score", [-300.0, -95.0, 95.0, 300.0])
def test_scores_that_move_by_hundreds(impl, score, compiled):
    # One head of size 1, keys 1: dq moves the score of every second prefix token by `score`.
    one = torch.ones(1, 1, 1)
    prefix_k = torch.tensor([1.0, 0.0, 1.0, 0.0]).view(4, 1, 1)
    prefix_v = torch.tensor([3.0, -1.0, 5.0, 7.0]).view(4, 1, 1)
    start, row = torch.tensor([0, 4]), rows_of(1)
    arguments = (
        one,
        0 * one,
        2 * one,
        score * one,
        0 * one,
        0 * one,
        prefix_k,
        prefix_v,
        start,
        row,
    )
    got = attention(*arguments, scale=1.0, impl=impl)
    truth, _ = plain(double(*arguments), 1.0, None)
    assert_close(got.double(), truth, budget=2e-6)


def test_no_rows(isa):
    arguments = list(inputs("gqa", 1.0))
    for i in (3, 4, 5, 9):
        arguments[i] = arguments[i][:0]
    assert attention(*arguments, scale=1.0, impl="cpp").shape == (0, 6, 20)
    assert attention(*arguments, scale=1.0, impl="reference").shape == (0, 6, 20)


@cases
def test_repeats_bit_for_bit_on_any_number_of_threads(case, isa):
    arguments, threads = inputs(case, 1.0), torch.get_num_threads()
    first = attention(*arguments, scale=0.3, impl="cpp")
    try:
        for n in (1, 2, 3):
            torch.set_num_threads(n)
            assert torch.equal(first, attention(*arguments, scale=0.3, impl="cpp"))
    finally:
        torch.set_num_threads(threads)


def test_a_row_does_not_depend_on_its_neighbours(isa):
    arguments = inputs("gqa", 1.0)
    together = attention(*arguments, scale=0.3, impl="cpp")
    for r in (0, 1, 5, 70):
        alone = list(arguments)
        for i in (3, 4, 5, 9):
            alone[i] = arguments[i][r : r + 1].contiguous()
        assert torch.equal(together[r : r + 1], attention(*alone, scale=0.3, impl="cpp"))


def test_nan_stays_in_its_row(isa):
    arguments = inputs("mha", 1.0)
    arguments[3][3, 0, 5] = torch.nan  # dq: one row, one head
    do = attention(*arguments, scale=0.3, impl="cpp")
    assert do.isnan().all(-1).nonzero().tolist() == [[3, 0]]
    assert do.isnan().sum() == 64


def test_refuses_what_it_cannot_take(compiled):
    arguments = dict(zip(NAMES, inputs("gqa", 1.0), strict=True))

    def call(**changed):
        return attention(**{**arguments, **changed}, scale=1.0, impl="cpp")

    with pytest.raises(NotImplementedError, match="not contiguous"):
        call(dq=arguments["dq"].transpose(1, 2).contiguous().transpose(1, 2))
    with pytest.raises(ValueError, match="sort the rows by prompt"):
        call(row_prompt=arguments["row_prompt"].flip(0))
    with pytest.raises(ValueError, match="prefix_start must not descend"):
        call(prefix_start=torch.tensor([0, 5, 3, 200, 208]))
    with pytest.raises(IndexError, match="outside the 208 prefix tokens"):
        call(prefix_start=torch.tensor([0, 0, 1, 201, 209]))
    with pytest.raises(ValueError, match="5 query heads are no multiple of 2 key heads"):
        call(q=arguments["q"][:, :5], dq=arguments["dq"][:, :5])
    with pytest.raises(ValueError, match=r"dk has shape .* expected \[71, 2, 20\]"):
        call(dk=arguments["dk"][1:])
