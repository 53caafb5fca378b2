"""Shift neurons in every forward that a model runs, at the prompt's tokens or at generated ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import wraps
from threading import Lock
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn

from negkernel.arguments import shown
from negkernel.families.feed_forward import Edit, Site
from negkernel.hooks.edits import Probed
from negkernel.hooks.fork import undone_in_forks
from negkernel.hooks.lease import borrowed
from negkernel.request.neurons import Intervention
from negkernel.sites import shift_amount

POSITIONS = ("generated", "prompt", "all")

_edited: WeakSet[nn.Module] = WeakSet()
_entering = Lock()


@contextmanager
def generating(
    model: Any, sites: Sequence[Site], intervention: Intervention, position: str
) -> Iterator[None]:
    """Apply an intervention in all calls of ``model``, see :meth:`negkernel.Engine.edited`.

    Parameters
    ----------
    sites : list of Site
        Where each layer's neurons are caught.
    position : str
        One of :data:`POSITIONS`.

    Raises
    ------
    ValueError
        Edits of this model have not ended.
    """
    with _entering:
        if model in _edited:
            raise ValueError(
                "this model is being edited already, in this thread or another; expected one "
                "intervention at a time: leave the other `with engine.edited(...)` first, or put "
                "the neurons of both into one Intervention"
            )
        _edited.add(model)
    try:
        with borrowed(model), ExitStack() as stack:
            calls = _Calls(model, sites, intervention, position)
            with undone_in_forks(stack.close):
                calls.install(stack)
                yield
    finally:
        _edited.discard(model)


def being_edited(model: nn.Module) -> bool:
    """Whether edits of ``model`` have begun and not ended."""
    return model in _edited


class _Calls:
    """The forwards of a model, each with the hooks that its tokens ask for."""

    def __init__(
        self, model: Any, sites: Sequence[Site], intervention: Intervention, position: str
    ):
        self.model, self.sites, self.position = model, sites, position
        self.intervention = intervention
        self.prompt: int | None = None  # tokens of the prompt that `generate` goes on from
        self.open: list[ExitStack] = []

    def install(self, stack: ExitStack) -> None:
        """Begin, until ``stack`` is closed."""
        own = vars(self.model).get("generate")
        vars(self.model)["generate"] = self._remembering(self.model.generate)

        def put_back() -> None:
            if own is None:
                vars(self.model).pop("generate", None)
            else:
                vars(self.model)["generate"] = own

        stack.callback(put_back)
        stack.callback(self._close)
        before = self.model.register_forward_pre_hook(self._begin, with_kwargs=True)
        stack.callback(before.remove)
        after = self.model.register_forward_hook(self._end, always_call=True)
        stack.callback(after.remove)

    def _remembering(self, generate: Callable[..., Any]) -> Callable[..., Any]:
        """Let ``generate`` say how long its prompts are: without a cache it runs them again."""

        @wraps(generate)
        def run(inputs: Any = None, *args: Any, **kwargs: Any) -> Any:
            given = [inputs, *(kwargs.get(name) for name in ("input_ids", "inputs_embeds"))]
            self.prompt = next((x.shape[1] for x in given if isinstance(x, Tensor)), None)
            try:
                return generate(inputs, *args, **kwargs)
            finally:
                self.prompt = None

        return run

    def _begin(self, model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        stack = ExitStack()
        self.open.append(stack)
        chosen = self._chosen(args, kwargs)
        if not bool(chosen.any()):
            return
        B, S = chosen.shape
        every = Probed(B, S, range(S))
        for layer in torch.unique(torch.from_numpy(self.intervention.neurons[:, 0])).tolist():
            edit = self._edit(layer, chosen, every)
            stack.enter_context(self.sites[layer].edited(edit))

    def _end(self, *_: Any) -> None:
        self.open.pop().close()

    def _close(self) -> None:
        while self.open:
            self._end()

    def _edit(self, layer: int, chosen: Tensor, every: Probed) -> Edit:
        own = self.intervention.neurons[:, 0] == layer
        neuron = torch.from_numpy(self.intervention.neurons[own, 1])
        amount = torch.from_numpy(self.intervention.amounts[own])

        def edit(x: Tensor) -> Tensor:
            token = every.index(x)[chosen.to(x.device)]
            at = token[:, None], neuron.to(x.device)
            x = x.clone()
            x[at] += shift_amount(x[at], amount.to(x), self.intervention.axis)
            return x

        return edit

    def _chosen(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        """Which tokens [B, S] of a call are shifted; padding is not."""
        given = args[0] if args else kwargs.get("input_ids")
        given = kwargs.get("inputs_embeds") if given is None else given
        if not isinstance(given, Tensor):
            raise ValueError(
                f"an edited {type(self.model).__name__} was called with {shown(given)}; expected "
                "input_ids or inputs_embeds"
            )
        B, S = given.shape[:2]
        cache = kwargs.get("past_key_values")
        past = 0 if cache is None else int(cache.get_seq_length())
        mask = kwargs.get("attention_mask")
        real = torch.ones(B, S, dtype=torch.bool, device=given.device)
        if isinstance(mask, Tensor) and mask.dim() == 2:
            real = mask[:, -S:].bool()
        if self.position == "all":
            return real
        place = (past + torch.arange(S, device=given.device)).expand(B, S)
        # The prompt's last token is where the first new one is read.
        last = torch.where(real, place, -1).amax(1, keepdim=True) if past == 0 else -1
        last = last if self.prompt is None else self.prompt - 1
        return real & (place >= last if self.position == "generated" else place <= last)
