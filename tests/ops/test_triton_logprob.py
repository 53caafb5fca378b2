"""Delta log-prob in Triton's interpreter, against the float64 reference."""

import pytest
import torch
from ops_inputs import double, rows_of, strided
from test_logprob import budget, crafted, heads, inputs

from negkernel.ops import logprob
from negkernel.ops.logprob import triton as launcher
from negkernel.testing.compare import assert_close

pytestmark = pytest.mark.usefixtures("interpreted")


@heads
@pytest.mark.parametrize("step", [1e-4, 1.0, 20.0])
def test_within_budget(softcap, scale, step, nan_filled):
    # One program and several; a vocabulary that ends within a block; rows of several prompts in a
    # block, and of one.
    for V, counts in (
        (2, (5, 0, 1, 14)),
        (65, (5, 0, 1, 14)),
        (600, (5, 0, 1, 14)),
        (600, (0, 20)),
    ):
        arguments, base_logits = inputs(counts, V, 24, step, softcap, scale)
        options = {"softcap": softcap, "scale": scale}
        truth = logprob(
            *double(*arguments), **options, base_logits=base_logits.double(), impl="reference"
        )
        got = logprob(*arguments, **options, base_logits=base_logits, impl="triton")
        allowed = budget(arguments, base_logits, truth, softcap, scale)
        assert_close(got.double(), truth, budget=allowed, what=f"V {V}, rows {counts}")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_head_in_half_precision_loses_no_more_than_its_operands(dtype):
    (dn, weight, *rest), base_logits = inputs((3, 4), 300, 100, 0.1)
    # Operands that rounding leaves as they are: products are exact in float32, sums are float32's.
    dn, weight = dn.to(dtype).float(), weight.to(dtype)
    arguments = (dn, weight.float(), *rest)
    truth = logprob(*double(*arguments), impl="reference")
    for impl in ("triton", "reference"):
        got = logprob(dn, weight, *rest, impl=impl)
        assert_close(got.double(), truth, budget=budget(arguments, base_logits, truth))
    # And dn is rounded where it has more digits.
    finer = dn * (1 + 1e-4)
    rounded = logprob(finer.to(dtype).float(), weight, *rest, impl="triton")
    assert torch.equal(logprob(finer, weight, *rest, impl="triton"), rounded)


@pytest.mark.parametrize(
    ("logits", "dz"),
    [
        ([20.0, 0.0, -1.0, 2.0], [-50.0, 0.0, 1.0, 0.5]),
        ([1.0, 0.0, -1.0, 2.0], [-95.0, -95.0, -95.0, -95.0]),
        ([1.0, 0.0, -1.0, 2.0], [95.0, -95.0, 0.0, 1e-3]),
        ([0.0, -120.0, -130.0, 0.0], [-300.0, 0.0, 3.0, -300.0]),
        ([0.0, -120.0, -130.0, 0.0], [0.0, 300.0, 0.0, 1.0]),
    ],
)
def test_large_differences(logits, dz):
    arguments = crafted(logits, dz)
    truth = logprob(*double(*arguments), impl="reference")
    got = logprob(*arguments, impl="triton")
    largest = torch.tensor(dz).double().abs().max()
    assert_close(got.double(), truth, budget=3e-7 * (1 + largest + truth.abs()))


def test_tokens_that_cannot_be_stay_so():
    dn, weight, base_logprob, targets, row_prompt = inputs((3,), 600, 8, 0.1)[0]
    base_logprob[:, 256:] = -torch.inf  # whole programs of them
    arguments = (dn, weight, base_logprob.log_softmax(1), targets % 256, row_prompt)
    truth = logprob(*double(*arguments), impl="reference")
    assert_close(logprob(*arguments, impl="triton").double(), truth, budget=1e-6)


def test_the_vocabulary_is_split_only_as_far_as_there_is_work():
    from negkernel.ops.logprob.configs import group, share

    assert share(32_000, blocks=1, processors=132) == 256  # 125 programs, one block each
    assert share(32_000, blocks=16, processors=132) == 2048  # 16 x 16 programs
    assert share(32_000, blocks=1000, processors=132) == 32_000
    assert share(2, blocks=1, processors=132) == 256
    assert group(16_384, block_r=128, width=8192) == 16  # 16 MiB of rows
    assert group(100, block_r=128, width=8192) == 1
    assert group(1 << 20, block_r=128, width=1 << 20) == 1


def test_the_last_group_of_row_blocks_may_be_smaller(monkeypatch):
    from negkernel.ops.logprob import configs

    monkeypatch.setattr(configs, "L2_SHARE", 2 * 64 * 8 * 4)
    arguments, _ = inputs((150, 20), 300, 8, 1.0)  # three blocks of rows, two parts, groups of two
    truth = logprob(*double(*arguments), impl="reference")
    assert_close(logprob(*arguments, impl="triton").double(), truth, budget=2e-6)


def test_strided_inputs_repeat_bit_for_bit_and_nan_stays_in_its_row():
    dn, weight, base_logprob, targets, row_prompt = inputs((3, 2), 300, 8, 1.0)[0]
    first = logprob(dn, weight, base_logprob, targets, row_prompt, impl="triton")
    dn = strided(dn)
    dn[2, 5] = torch.nan
    again = logprob(dn, strided(weight), strided(base_logprob), targets, row_prompt, impl="triton")
    assert again.isnan().all(1).tolist() == [False, False, True, False, False]
    assert torch.equal(first[[0, 1, 3, 4]], again[[0, 1, 3, 4]])
    none = logprob(dn[:0], weight, base_logprob, targets, rows_of(0), impl="triton")
    assert none.shape == (0, 3)


def test_no_tensor_of_rows_by_vocabulary(monkeypatch):
    arguments, _ = inputs((64,), 512, 8, 0.1)
    sizes, empty = [], torch.Tensor.new_empty

    def spy(self, *shape, **options):
        made = empty(self, *shape, **options)
        sizes.append(made.numel())
        return made

    monkeypatch.setattr(torch.Tensor, "new_empty", spy)
    launcher.logprob(*arguments)
    assert 0 < max(sizes) <= 64 * 3 * 2


def test_a_head_in_tiles_is_refused():
    arguments = list(inputs((2,), 10, 4, 1.0)[0])
    weight, arguments[1] = arguments[1], lambda start, stop: weight[start:stop]
    with pytest.raises(NotImplementedError, match="reads one matrix"):
        logprob(*arguments, impl="triton")
