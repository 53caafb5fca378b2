"""The attention VJP of rows on one prefix against the one that gives every row its own copy."""

import pytest
import torch

from negkernel.delta.vjp import attention_vjp, shared_attention_vjp


@pytest.mark.parametrize("softcap", [None, 2.0])
@pytest.mark.parametrize(("R", "K", "S", "heads", "kv_heads"), [(5, 2, 7, 6, 2), (1, 3, 0, 4, 4)])
def test_a_shared_prefix_changes_nothing(R, K, S, heads, kv_heads, softcap):
    def random(*shape):
        return torch.randn(shape, dtype=torch.float64)

    query, g = random(R, heads, 8), random(R, K, heads, 8)
    own = random(R, kv_heads, 8), random(R, kv_heads, 8)
    prefix = random(S, kv_heads, 8), random(S, kv_heads, 8)
    seen = [
        torch.cat([shared.expand(R, *shared.shape), last[:, None]], dim=1)
        for shared, last in zip(prefix, own, strict=True)
    ]
    length = torch.full((R,), S + 1)
    expected = attention_vjp(query, *seen, length, g, scale=0.3, softcap=softcap)
    found = shared_attention_vjp(query, own, prefix, g, scale=0.3, softcap=softcap)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-13)
