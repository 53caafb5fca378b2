"""Run the model itself, as plainly as it goes: one prompt, one forward."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

from negkernel.families.feed_forward import FeedForward
from negkernel.families.weights import dense_weight
from negkernel.hooks import edits as hooks
from negkernel.hooks.lease import borrowed
from negkernel.methods.forward import accepts, input_device, log_softmax, logits_of, own_logits
from negkernel.model.finite import fault
from negkernel.request.rows import Rows
from negkernel.sites import Site

# Logits of all positions up to this many bytes are asked for, though one position is read.
_ALL_LOGITS = 2**28


class ModelFaultError(ValueError):
    """The model itself gives no numbers, whatever the method."""


class Reference:
    """Forwards of an untouched model, each distinct one run once.

    Parameters
    ----------
    model : transformers.PreTrainedModel
    feed_forwards : list of FeedForward
        Its MLPs, one per layer.
    site : Site
        Which tensor of them is shifted.
    way : callable, optional
        A context around each forward: :func:`dense` or :func:`wide`.
    """

    def __init__(
        self,
        model: Any,
        feed_forwards: Sequence[FeedForward],
        site: Site,
        way: Callable[[nn.Module], AbstractContextManager[Any]] = nullcontext,
    ):
        self.model = model
        self.feed_forwards = feed_forwards
        self.site = site
        self._way = way
        self.widths: list[int] = site.widths(feed_forwards).tolist()
        self._sites = site.caught(feed_forwards)
        self._known: dict[tuple[Any, ...], Tensor] = {}

    def logprob(self, tokens: Sequence[int], position: int) -> Tensor:
        """Log-probs [V] at ``position``.

        Raises
        ------
        ModelFaultError
            The model's own output is not a number.
        """
        key = (*tokens, position)
        if key not in self._known:
            self._known[key] = found = self._forward(tokens, position)
            if found.isnan().any():
                raise ModelFaultError(fault(self.model))
        return self._known[key]

    def shifted(self, tokens: Sequence[int], position: int, at: int, row: Rows) -> Tensor:
        """Log-probs [V] at ``position`` with one ``row`` on the axis "signed" applied ``at``."""
        probed = hooks.Probed(1, len(tokens), [at])
        with hooks.edited(self._sites, hooks.shifts(row, probed, "signed")):
            found = self._forward(tokens, position)
        if probed.padded:
            self._check_padding(tokens, position)
        return found

    @torch.no_grad()
    def _check_padding(self, tokens: Sequence[int], position: int) -> None:
        """Refuse a model that adds tokens anywhere but at the end of its prompts.

        Nothing passes from one position to another above the last layer's feed-forward part: moved
        at the probed token, it changes the logits there and nowhere else.
        """
        probed = hooks.Probed(1, len(tokens), [position])
        neurons = [one.site("post") for one in self.feed_forwards]
        last = max(layer for layer, one in enumerate(self.feed_forwards) if one.width)

        def moved(x: Tensor) -> Tensor:
            x = x.clone()
            x[probed.index(x)] += 1
            return x

        ids = torch.tensor([list(tokens)]).to(input_device(self.model))
        with borrowed(self.model):
            plain = own_logits(self.model, logits_of(self.model(input_ids=ids)), ids)
            with hooks.edited(neurons, {last: moved}):
                shifted = own_logits(self.model, logits_of(self.model(input_ids=ids)), ids)
        changed = (shifted != plain).any(-1)[0].nonzero()[:, 0].tolist()
        if changed != [position]:
            raise NotImplementedError(
                f"{type(self.model).__name__} puts tokens of its own before or between those of a "
                f"prompt: what is moved at position {position} changes {changed}"
            )

    @torch.no_grad()
    def _forward(self, tokens: Sequence[int], position: int) -> Tensor:
        ids = torch.tensor([list(tokens)]).to(input_device(self.model))
        keep = {}
        large = 4 * len(tokens) * self.model.config.get_text_config().vocab_size > _ALL_LOGITS
        if large and position == len(tokens) - 1 and accepts(self.model, "logits_to_keep"):
            keep = {"logits_to_keep": 1}
        with borrowed(self.model), self._way(self.model):
            logits = logits_of(self.model(input_ids=ids, **keep))
        if not keep:
            logits = own_logits(self.model, logits, ids)
        return log_softmax(logits[0, -1 if keep else position]).cpu()


def is_quantized(module: Any) -> bool:
    """Whether ``module`` is a layer of bitsandbytes, whose matrix can be had in floating point."""
    return type(module).__module__.startswith("bitsandbytes.") and hasattr(module, "in_features")


@contextmanager
def dense(model: nn.Module) -> Iterator[None]:
    """Multiply by the matrices of quantized layers in floating point, as they stand, until left.

    The kernels of their format, which round what they multiply, are left out.
    """

    def multiply(module: Any) -> Callable[[Tensor], Tensor]:
        def forward(x: Tensor) -> Tensor:
            bias = None if module.bias is None else module.bias.to(x)
            return F.linear(x, dense_weight(module).to(x), bias)

        return forward

    with ExitStack() as stack:
        for module in filter(is_quantized, model.modules()):
            own = vars(module).get("forward")
            put_back = partial(vars(module).pop, "forward")
            if own is not None:
                put_back = partial(setattr, module, "forward", own)
            vars(module)["forward"] = multiply(module)
            stack.callback(put_back)
        yield


class _Wide(TorchFunctionMode):
    """Run every operation of half precision in float32."""

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if function is F.embedding:  # the whole table would be converted for a few rows
            return _widened(function(*args, **(kwargs or {})))
        args, kwargs = tree_map(_widened, (args, kwargs or {}))
        return function(*args, **kwargs)


def _widened(x: Any) -> Any:
    half = isinstance(x, Tensor) and x.dtype in (torch.float16, torch.bfloat16)
    return x.float() if half else x


def wide(model: nn.Module) -> AbstractContextManager[Any]:
    """Run what ``model`` does in half precision in float32, one operation at a time."""
    return _Wide()
