"""How often weights are fetched."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from accelerate.hooks import AlignDevicesHook


@pytest.fixture
def fetched(monkeypatch):
    """How often each module has been fetched."""
    counts: Counter[torch.nn.Module] = Counter()
    own = AlignDevicesHook.pre_forward

    def pre_forward(hook, module, *args, **kwargs):
        if hook.offload and any(p.is_meta for p in module.parameters(recurse=False)):
            counts[module] += 1
        return own(hook, module, *args, **kwargs)

    monkeypatch.setattr(AlignDevicesHook, "pre_forward", pre_forward)
    return counts
