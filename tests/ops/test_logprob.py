"""Delta log-prob: reference against two log-softmaxes, C++ against the reference."""

import pytest
import torch
from ops_inputs import double, rows_of, strided

from negkernel.ops import logprob
from negkernel.ops.logprob import tiles
from negkernel.testing.compare import assert_close

impls = pytest.mark.parametrize("impl", ["reference", "cpp"])
heads = pytest.mark.parametrize(
    ("softcap", "scale"),
    [(None, 1.0), (None, 0.125), (30.0, 0.5)],
    ids=["plain", "scaled", "capped"],
)


def final(z, softcap, scale):
    return softcap * torch.tanh(scale * z / softcap) if softcap else scale * z


def inputs(counts, V, H, step, softcap=None, scale=1.0):
    """Return the arguments of logprob; the first target is the most probable token."""
    P = len(counts)
    weight = torch.randn(V, H)
    base_logits = torch.randn(P, H) @ weight.T
    base_logprob = final(base_logits.double(), softcap, scale).log_softmax(-1).float()
    targets = torch.cat([base_logits.argmax(1, keepdim=True), torch.randint(V, (P, 2))], 1)
    dn = step * torch.randn(sum(counts), H)
    return (dn, weight, base_logprob, targets, rows_of(*counts)), base_logits


def plain(arguments, base_logits, softcap=None, scale=1.0):
    dn, weight, _, targets, row_prompt = arguments
    before = final(base_logits, softcap, scale).log_softmax(-1)[row_prompt]
    after = final(base_logits[row_prompt] + dn @ weight.T, softcap, scale).log_softmax(-1)
    return (after - before).gather(1, targets[row_prompt])


def budget(arguments, base_logits, truth, softcap=None, scale=1.0):
    """Twice what plain float32 loses, and 1e-6 of the largest logit difference's terms."""
    eager = plain(arguments, base_logits, softcap, scale).double()
    dn, weight = arguments[0].double(), arguments[1].double()
    terms = scale * (dn.abs() @ weight.abs().T).amax(1, keepdim=True)
    return 2 * (eager - truth).abs() + 1e-6 * terms


@heads
@pytest.mark.parametrize("step", [1e-5, 0.1, 5.0])
def test_reference_is_the_plain_difference_in_float64(softcap, scale, step):
    arguments, base_logits = inputs((3, 0, 20), 1000, 32, step, softcap, scale)
    arguments, base_logits = double(*arguments), base_logits.double()
    base = final(base_logits, softcap, scale).log_softmax(-1)
    arguments = (*arguments[:2], base, *arguments[3:])
    expected = plain(arguments, base_logits, softcap, scale)
    for tile in (1, 333, 4096):
        got = logprob(*arguments, tile=tile, softcap=softcap, base_logits=base_logits, scale=scale)
        assert_close(got, expected, budget=1e-13 * max(step, 1.0) * 32)


@heads
@pytest.mark.parametrize("step", [1e-4, 1e-2, 1.0, 20.0])
def test_cpp_within_budget(softcap, scale, step, isa, nan_filled):
    for V in (2, 63, 65, 1000):
        arguments, base_logits = inputs((5, 0, 1, 30), V, 24, step, softcap, scale)
        options = {"softcap": softcap, "scale": scale}
        truth = logprob(
            *double(*arguments), **options, base_logits=base_logits.double(), impl="reference"
        )
        allowed = budget(arguments, base_logits, truth, softcap, scale)
        for tile in (64, 4096):
            got = logprob(*arguments, **options, base_logits=base_logits, tile=tile, impl="cpp")
            assert_close(got.double(), truth, budget=allowed, what=f"V {V} tile {tile}")


def crafted(logits, dz):
    """Return arguments whose logit differences are exactly `dz`: a head of one input."""
    weight = torch.tensor(dz)[:, None]
    base_logprob = torch.tensor(logits, dtype=torch.float64).log_softmax(0)[None]
    targets = torch.arange(len(dz))[None]
    return torch.ones(1, 1), weight, base_logprob.float(), targets, rows_of(1)


@impls
@pytest.mark.parametrize("tile", [1, 2, 4096])
@pytest.mark.parametrize(
    ("logits", "dz"),
    [
        ([20.0, 0.0, -1.0, 2.0], [-50.0, 0.0, 1.0, 0.5]),  # p = 1 - 1e-8 loses all its mass
        ([1.0, 0.0, -1.0, 2.0], [-95.0, -95.0, -95.0, -95.0]),  # a constant changes nothing
        ([1.0, 0.0, -1.0, 2.0], [95.0, 95.0, 95.0, 95.0]),
        ([1.0, 0.0, -1.0, 2.0], [95.0, -95.0, 0.0, 1e-3]),
        ([0.0, -120.0, -130.0, 0.0], [-300.0, 0.0, 3.0, -300.0]),  # what remains had no mass
        ([0.0, -120.0, -130.0, 0.0], [0.0, 300.0, 0.0, 1.0]),
        ([0.0, -150.0, -5.0, -6.0], [-100.0, 87.0, 0.0, 0.0]),  # p e^dz clamped is the mass lost
    ],
)
def test_large_differences(impl, tile, logits, dz, compiled):
    arguments = crafted(logits, dz)
    truth = logprob(*double(*arguments), impl="reference")
    z = torch.tensor(logits, dtype=torch.float64)
    dz = torch.tensor(dz).double()
    plain = (z + dz).log_softmax(0) - arguments[2][0].double()
    assert_close(truth[0], plain, budget=1e-4)  # float32 log-probs are normalised to 1e-5
    got = logprob(*arguments, tile=tile, impl=impl)
    assert_close(got.double(), truth, budget=3e-7 * (1 + dz.abs().max() + truth.abs()))


@impls
def test_rows_come_in_blocks_and_heads_as_a_callable(impl, monkeypatch, compiled):
    arguments, _ = inputs((7, 20), 300, 16, 0.1)
    expected = logprob(*arguments, impl=impl)
    monkeypatch.setitem(tiles.ROWS, "cpu", 8)
    asked, weight = [], arguments[1]

    def head(start, stop):
        asked.append((start, stop))
        return weight[start:stop].clone()

    got = logprob(arguments[0], head, *arguments[2:], tile=128, impl=impl)
    assert_close(got, expected, budget=1e-6)
    assert asked == [(0, 128), (128, 256), (256, 300)]


def test_repeats_bit_for_bit(isa):
    arguments, _ = inputs((100, 3, 97), 1000, 24, 0.5)
    first = logprob(*arguments, tile=256, impl="cpp")
    for _ in range(3):
        assert torch.equal(first, logprob(*arguments, tile=256, impl="cpp"))


@impls
def test_nan_stays_in_its_row_and_no_rows_are_fine(impl, compiled):
    arguments, _ = inputs((4,), 100, 8, 1.0)
    arguments[0][2, 5] = torch.nan
    got = logprob(*arguments, impl=impl)
    assert got.isnan().all(1).tolist() == [False, False, True, False]
    empty, _ = inputs((0, 0), 100, 8, 1.0)
    assert logprob(*empty, impl=impl).shape == (0, 3)


@impls
def test_no_tensor_of_rows_by_vocabulary(impl, monkeypatch, compiled):
    monkeypatch.setitem(tiles.ROWS, "cpu", 16)
    arguments, _ = inputs((64,), 512, 8, 0.1)
    with torch.profiler.profile(profile_memory=True) as profile:
        logprob(*arguments, tile=32, impl=impl)
    largest = max(event.cpu_memory_usage for event in profile.events())
    assert 16 * 32 * 4 <= largest < 64 * 512 * 4 / 4


def test_refuses_what_it_cannot_take(compiled):
    arguments, _ = inputs((4, 4), 100, 8, 1.0)
    dn, weight, base_logprob, targets, row_prompt = arguments
    with pytest.raises(NotImplementedError, match="not contiguous"):
        logprob(dn, weight, strided(base_logprob), targets, row_prompt, impl="cpp")
    expected = logprob(*arguments, impl="reference")
    assert_close(
        logprob(strided(dn), strided(weight), base_logprob, targets, row_prompt),
        expected,
        budget=2e-5,
    )
    with pytest.raises(ValueError, match="softcap needs base_logits"):
        logprob(*arguments, softcap=30.0)
    with pytest.raises(ValueError, match=r"weight has shape \[100, 8\], expected \[99, 8\]"):
        logprob(dn, weight, base_logprob[:, 1:], targets, row_prompt)
    with pytest.raises(TypeError, match=r"targets is torch\.int32, expected int64"):
        logprob(dn, weight, base_logprob, targets.int(), row_prompt)
