"""Catch the neurons of one dense feed-forward part: inputs and outputs of its linear modules."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from negkernel.families.feed_forward import Edit


@dataclass(frozen=True)
class HookSite:
    """Neurons are columns ``offset:offset + width`` of a module's input or output [.., total].

    Attributes
    ----------
    number : int
        Which call of the module in a forward: layers may share one module.
    sequence_first : bool
        The module sees [S, B, I] instead of [B, S, I].
    """

    module: nn.Module
    is_input: bool
    offset: int
    width: int
    total: int
    number: int = 0
    sequence_first: bool = False

    @contextmanager
    def edited(self, edit: Edit) -> Iterator[None]:
        """See :class:`negkernel.families.feed_forward.Site`; within it one forward runs."""
        calls = -1

        def mine() -> bool:
            nonlocal calls
            calls += 1
            return calls == self.number

        def before(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
            return (self._apply(edit, args[0]), *args[1:]) if mine() else args

        def after(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
            if not mine():
                return output
            if isinstance(output, tuple):  # a layer may put out more than its hidden states
                return (self._apply(edit, output[0]), *output[1:])
            return self._apply(edit, output)

        if self.is_input:
            handle = self.module.register_forward_pre_hook(before)
        else:
            handle = self.module.register_forward_hook(after)
        try:
            yield
        finally:
            handle.remove()

    def _apply(self, edit: Edit, x: Tensor) -> Tensor:
        turned = self._turned(x)
        if x.dim() > 3 and list(self.module.children()):
            raise NotImplementedError(
                f"{type(self.module).__name__} puts out several streams {list(x.shape)}, in which "
                "a token is in several places"
            )
        if turned.shape[-1] != self.total:
            raise NotImplementedError(
                f"{type(self.module).__name__} computes {turned.shape[-1]} columns where its layer "
                f"has {self.total}: it is split over processes (tensor parallel), so that an index "
                "means another neuron on each; load the model whole, or use FSDP"
            )
        columns = slice(self.offset, self.offset + self.width)
        flat = turned.reshape(-1, turned.shape[-1])
        changed = edit(flat[:, columns])
        if changed is None:
            return x
        if self.width != turned.shape[-1]:
            out = flat.clone()
            out[:, columns] = changed
            changed = out
        return self._turned(changed.view(turned.shape))

    def _turned(self, x: Tensor) -> Tensor:
        """Between the module's own axes and batch, sequence, neurons."""
        if isinstance(self.module, nn.Conv1d):
            return x.transpose(1, 2)
        return x.transpose(0, 1) if self.sequence_first else x


@dataclass(frozen=True)
class Dense:
    """One layer's feed-forward modules; ``fused`` holds gates and ups in one, gates first or not.

    ``number`` and ``sequence_first`` are those of :class:`HookSite`.
    """

    down: nn.Module
    width: int
    up: nn.Module | None = None
    gate: nn.Module | None = None
    fused: nn.Module | None = None
    up_first: bool = False
    number: int = 0
    sequence_first: bool = False

    @property
    def gated(self) -> bool:
        """Whether the hidden vector is a product of two projections."""
        return self.gate is not None or self.fused is not None

    def site(self, name: str) -> HookSite:
        """Return where the resolved site ``name`` can be caught."""
        if name == "post":
            return self._at(self.down, is_input=True)
        if self.fused is not None:
            second = (name == "up") != self.up_first
            return self._at(self.fused, offset=self.width if second else 0)
        module = self.gate if name == "gate" else self.up
        assert module is not None
        return self._at(module)

    def _at(self, module: nn.Module, *, is_input: bool = False, offset: int = 0) -> HookSite:
        total = 2 * self.width if module is self.fused else self.width
        return HookSite(
            module, is_input, offset, self.width, total, self.number, self.sequence_first
        )
