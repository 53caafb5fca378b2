"""The packed prefixes of a trace: computed once for the batches of the same prompts."""

from dataclasses import replace

import torch
from small_models import build

from negkernel.delta.trace import trace
from negkernel.families import describe
from negkernel.families.parts import Precision


def test_batches_of_the_same_prompts_get_the_same_tensors():
    decoder = describe(build("llama", torch.float32), Precision(torch.float32, torch.float32))
    base = trace(decoder, [[1, 2, 3], [1, 2, 4, 5], [6]])
    whole = base.prefix(0, None)
    again = base.prefix(0, None)
    assert all(a is b for a, b in zip(whole, again, strict=True))
    assert whole[2].tolist() == [0, 2, 5, 5]
    # Other prompts, another window and another layer are answered for themselves.
    keys, values, start = base.select(1, 3).prefix(0, None)
    assert torch.equal(keys, whole[0][2:])
    assert torch.equal(values, whole[1][2:])
    assert start.tolist() == [0, 3, 3]
    keys, _, start = base.prefix(0, 2)
    assert torch.equal(keys, whole[0][[1, 4]])
    assert start.tolist() == [0, 1, 2, 2]
    assert not torch.equal(base.prefix(1, None)[0], whole[0])
    # A trace that sees other nodes remembers nothing of this one.
    fewer = replace(base, packing=replace(base.packing, paths=base.packing.paths[:1]))
    assert len(fewer.prefix(0, 2)[0]) == 1
