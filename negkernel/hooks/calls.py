"""Keep what every linear module of a model was given and put out in one small forward."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from negkernel.hooks.lease import borrowed

# Two short prompts of different sizes: a tensor's axes can then be told apart.
BATCH, LENGTH = 2, 5


@dataclass(frozen=True)
class Call:
    """A module's ``number``-th call in a forward.

    Attributes
    ----------
    entry : dict of int to int
        Which entry of each list of modules was running.
    given, put : Tensor [tokens, width] or None
        Batch outermost; None where a tensor does not have exactly the prompts' tokens.
    sequence_first : bool
        What was given has the sequence outermost.
    """

    path: str
    module: nn.Module
    number: int
    entry: dict[int, int]
    given: Tensor | None
    put: Tensor | None
    sequence_first: bool


def traced(model: Any, n_layers: int | None) -> tuple[dict[int, nn.ModuleList], list[Call]]:
    """Run two short prompts through ``model``.

    Returns
    -------
    lists : dict of int to nn.ModuleList
        Lists of ``n_layers`` modules whose entries ran once each.
    calls : list of Call
        Of modules with a weight matrix, in the order in which they ended.

    Raises
    ------
    NotImplementedError
        The model does not run on two prompts of token ids.
    """
    trace = _Trace()
    lists = {
        number: one
        for number, one in enumerate(model.modules())
        if isinstance(one, nn.ModuleList) and len(one) == n_layers
    }
    vocabulary = model.config.get_text_config().vocab_size
    ids = 7 * torch.arange(1, BATCH * LENGTH + 1).view(BATCH, LENGTH) % vocabulary
    with torch.no_grad(), borrowed(model), ExitStack() as stack:
        for number, layers in lists.items():
            for entry, layer in enumerate(layers):
                before, after = trace.entering(number, entry), trace.leaving(number)
                stack.callback(layer.register_forward_pre_hook(before).remove)
                stack.callback(layer.register_forward_hook(after).remove)
        for path, module in model.named_modules():
            weight = getattr(module, "weight", None)
            if isinstance(weight, Tensor) and weight.dim() > 1:
                stack.callback(module.register_forward_hook(trace.keeping(path)).remove)
        try:
            model(input_ids=ids.to(model.get_input_embeddings().weight.device))
        except (RuntimeError, ValueError, TypeError, IndexError, AttributeError) as error:
            raise NotImplementedError(
                f"{type(model).__name__} does not run on two prompts of token ids ({error}), so "
                "that its neurons cannot be found"
            ) from error
    once = {n: one for n, one in lists.items() if trace.entered.get(n) == [*range(len(one))]}
    return once, trace.calls


class _Trace:
    """Calls of a forward as they come."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.entered: dict[int, list[int]] = {}
        self._running: dict[int, int] = {}
        self._numbers: dict[nn.Module, int] = {}

    def entering(self, number: int, entry: int) -> Callable[..., None]:
        """Hook of a list's entry that begins."""

        def hook(*_: Any) -> None:
            self._running[number] = entry
            self.entered.setdefault(number, []).append(entry)

        return hook

    def leaving(self, number: int) -> Callable[..., None]:
        """Hook of a list's entry that ends."""

        def hook(*_: Any) -> None:
            self._running.pop(number, None)

        return hook

    def keeping(self, path: str) -> Callable[..., None]:
        """Hook of a module whose calls are kept."""

        def hook(module: nn.Module, args: tuple[Any, ...], out: Any) -> None:
            number = self._numbers[module] = self._numbers.get(module, -1) + 1
            if not (args and isinstance(args[0], Tensor) and isinstance(out, Tensor)):
                return
            given, turned = _tokens(args[0], module)
            put, _ = _tokens(out, module)
            entry = dict(self._running)
            self.calls.append(Call(path, module, number, entry, given, put, turned))

        return hook


def _tokens(x: Tensor, module: nn.Module) -> tuple[Tensor | None, bool]:
    """``x`` as [tokens, width], batch outermost, and whether the sequence was."""
    if isinstance(module, nn.Conv1d):
        x = x.transpose(1, 2)
    width = x.shape[-1]
    if x.shape[:-1] in ((BATCH, LENGTH), (BATCH * LENGTH,)):
        return x.reshape(-1, width).clone(), False
    if x.shape[:-1] == (LENGTH, BATCH):
        return x.transpose(0, 1).reshape(-1, width).clone(), True
    return None, False
