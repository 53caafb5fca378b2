"""Use a user's model and give it back as it was, also after an error or an interrupt."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from negkernel.fork import undone_in_forks


class RotaryState:
    """Memory of rotary modules that choose frequencies by the longest position they have seen."""

    def __init__(self, model: nn.Module):
        self._saved: list[tuple[nn.Module, dict[str, Any], dict[str, Tensor | None]]] = []
        for module in model.modules():
            if hasattr(module, "rope_type"):
                plain = {k: v for k, v in vars(module).items() if k != "_buffers"}
                copies = {
                    name: None if buffer is None else buffer.clone()
                    for name, buffer in module._buffers.items()
                }
                self._saved.append((module, plain | {"_buffers": dict(module._buffers)}, copies))

    def restore(self) -> None:
        """Put back the same buffers with the same contents, and drop attributes that came since."""
        for module, state, copies in self._saved:
            for name in set(vars(module)) - set(state):
                del vars(module)[name]
            vars(module).update(state | {"_buffers": dict(state["_buffers"])})
            for name, copy in copies.items():
                buffer = module._buffers[name]
                if buffer is not None and copy is not None and not torch.equal(buffer, copy):
                    buffer.copy_(copy)


@contextmanager
def borrowed(model: nn.Module) -> Iterator[RotaryState]:
    """Put ``model`` in evaluation mode; on leaving, restore training flags and rotary state."""
    training = {module: module.training for module in model.modules()}
    rotary = RotaryState(model)

    def restore() -> None:
        for module, flag in training.items():
            module.training = flag
        rotary.restore()

    with undone_in_forks(restore):
        try:
            model.eval()
            yield rotary
        finally:
            restore()
