"""Delta attention in Triton's interpreter, against the float64 reference."""

import pytest
import test_attention
import torch
from ops_inputs import double, rows_of, strided
from test_attention import NAMES, inputs, plain, softcaps

from negkernel.ops import attention
from negkernel.testing.compare import assert_close

# As in test_attention, small enough for the interpreter. Rows of three prompts share a block in
# "gqa", one prompt fills several blocks in "mqa", and head sizes are no powers of two.
CASES = {
    "mha": ((2, 2, 20), (33, 3, 0), (5, 0, 2)),
    "gqa": ((6, 2, 7), (0, 1, 40), (1, 3, 2)),
    "mqa": ((4, 1, 16), (9, 32), (20, 3)),
    "one": ((1, 1, 1), (70,), (1,)),
}


@pytest.fixture(autouse=True)
def _small(monkeypatch, interpreted):
    monkeypatch.setattr(test_attention, "CASES", CASES)


cases = pytest.mark.parametrize("case", CASES)


@cases
@softcaps
@pytest.mark.parametrize("step", [1e-4, 1.0, 50.0])
def test_within_budget(case, softcap, step, nan_filled):
    arguments, scale = inputs(case, step), CASES[case][0][2] ** -0.5
    truth = attention(*double(*arguments), scale=scale, softcap=softcap, impl="reference")
    got = attention(*arguments, scale=scale, softcap=softcap, impl="triton")
    eager, _ = plain(arguments, scale, softcap)
    _, size = plain(double(*arguments), scale, softcap)
    allowed = 2 * (eager.double() - truth).abs() + 1e-6 * size
    assert_close(got.double(), truth, budget=allowed)


@pytest.mark.parametrize("score", [-300.0, -95.0, 95.0, 300.0])
def test_scores_that_move_by_hundreds(score):
    # One head of size 1, keys 1: dq moves the score of every second prefix token by `score`.
    one = torch.ones(1, 1, 1)
    prefix_k = torch.tensor([1.0, 0.0, 1.0, 0.0]).view(4, 1, 1)
    prefix_v = torch.tensor([3.0, -1.0, 5.0, 7.0]).view(4, 1, 1)
    base, rows = (one, 0 * one, 2 * one), (score * one, 0 * one, 0 * one)
    arguments = (*base, *rows, prefix_k, prefix_v, torch.tensor([0, 4]), rows_of(1))
    got = attention(*arguments, scale=1.0, impl="triton")
    truth, _ = plain(double(*arguments), 1.0, None)
    assert_close(got.double(), truth, budget=2e-6)


@cases
def test_strided_inputs_repeat_bit_for_bit(case):
    arguments = inputs(case, 1.0)
    first = attention(*arguments, scale=0.3, impl="triton")
    again = [strided(a) if a.is_floating_point() else a for a in arguments]
    assert torch.equal(first, attention(*again, scale=0.3, impl="triton"))


def test_nan_stays_in_its_row_and_head_and_no_rows_are_fine():
    arguments = dict(zip(NAMES, inputs("gqa", 1.0), strict=True))
    arguments["dq"][3, 0, 5] = torch.nan
    do = attention(**arguments, scale=0.3, impl="triton")
    assert do.isnan().all(-1).nonzero().tolist() == [[3, 0]]
    assert do.isnan().sum() == 7
    for name in ("dq", "dk", "dv", "row_prompt"):
        arguments[name] = arguments[name][:0]
    assert attention(**arguments, scale=1.0, impl="triton").shape == (0, 6, 7)
