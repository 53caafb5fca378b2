"""Use a user's model and give it back as it was, also after an error or an interrupt."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from negkernel.hooks.fork import undone_in_forks

# Values of a module that say how it computes; what else it holds is its own business.
_PLAIN = (bool, int, float, str, type(None))
# What `module.compile()` calls in place of the module: it runs no hooks of the modules inside.
_COMPILED = "_compiled_call_impl"


class ModuleState:
    """What modules may change in themselves as they run, and a later forward would go on from.

    Rotary modules choose frequencies by the longest position they have seen; BigBird turns to full
    attention for a short prompt, in other modules, and stays with it.
    """

    def __init__(self, model: nn.Module):
        self._rotary: list[tuple[nn.Module, dict[str, Any], dict[str, Tensor | None]]] = []
        self._settings: list[tuple[dict[str, Any], dict[str, Any]]] = []
        for module in model.modules():
            own = vars(module)
            plain = {k: v for k, v in own.items() if isinstance(v, _PLAIN) or k == _COMPILED}
            self._settings.append((own, plain))
            self._settings.append((module._modules, dict(module._modules)))
            if hasattr(module, "rope_type"):
                plain = {k: v for k, v in own.items() if k != "_buffers"}
                copies = {
                    name: None if buffer is None else buffer.clone()
                    for name, buffer in module._buffers.items()
                }
                self._rotary.append((module, plain | {"_buffers": dict(module._buffers)}, copies))

    def restore(self) -> None:
        """Put back settings and submodules, and of rotary modules the contents of buffers too."""
        for now, then in self._settings:
            now.update(then)
        for module, state, copies in self._rotary:
            for name in set(vars(module)) - set(state):
                del vars(module)[name]
            vars(module).update(state | {"_buffers": dict(state["_buffers"])})
            for name, copy in copies.items():
                buffer = module._buffers[name]
                if buffer is not None and copy is not None and not buffer.equal(copy):
                    buffer.copy_(copy)


@contextmanager
def borrowed(model: nn.Module) -> Iterator[ModuleState]:
    """Put ``model`` in evaluation mode and let its feed-forward modules see all tokens at once.

    On leaving it is what it was: training flags, settings, submodules, rotary state.
    """
    given = ModuleState(model)
    with undone_in_forks(given.restore):
        try:
            model.eval()
            for module in model.modules():
                if vars(module).get(_COMPILED) is not None:
                    vars(module)[_COMPILED] = None
                if vars(module).get("chunk_size_feed_forward"):
                    vars(module)["chunk_size_feed_forward"] = 0
            yield ModuleState(model)
        finally:
            given.restore()
