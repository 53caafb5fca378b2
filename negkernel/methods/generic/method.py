"""Serve ``method="generic"``: a model's own modules on carried tensors, for any architecture.

The prompt runs once through the model, in the dtype of states whatever that of the weights is; the
keys and values of the tokens before the first shift are kept. Then batches of rows run the tokens
from there on, which attend to the kept ones, through the same modules. Layers below a shift
compute the base alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from negkernel.hooks import edits as hooks
from negkernel.hooks.experts import ExpertSite
from negkernel.hooks.lease import borrowed
from negkernel.hooks.modules import FeedForward
from negkernel.methods.base import LayerGradients, Part, Work
from negkernel.methods.forward import accepts, input_device, logits_of
from negkernel.methods.full import part_of
from negkernel.methods.generic.cache import keeping, of_prefix
from negkernel.methods.generic.carrier import Carried
from negkernel.methods.generic.experts import Caught, carried_experts
from negkernel.methods.generic.normalise import logprob_mass
from negkernel.methods.generic.running import Run, running
from negkernel.methods.generic.shifts import LayerShift, shifts_of
from negkernel.methods.graph_gradients import by_layer, slopes
from negkernel.methods.own_modules import OwnModules
from negkernel.methods.readings import from_logprobs
from negkernel.request.answers import starts, where_read
from negkernel.request.prompts import Request
from negkernel.sites import Site

MAX_POSITIONS = 2048  # of one batch: rows times tokens that each carries
Catches = Mapping[int, Any]  # by layer: a LayerShift, or a function of a layer's neurons


class Generic(OwnModules):
    """Differences through a model's own modules.

    Parameters
    ----------
    model : transformers.PreTrainedModel
    feed_forwards : list of FeedForward
        Its MLPs, one per layer.
    done : Run
        What it computes in, and where operations are counted.
    memory_budget : int
        Bytes of scratch, which sets how many rows run at once.
    causal : bool
    """

    name = "generic"
    rows = 768

    def __init__(
        self,
        model: Any,
        feed_forwards: Sequence[FeedForward],
        done: Run,
        memory_budget: int,
        *,
        causal: bool,
    ):
        super().__init__(model, feed_forwards)
        self.memory_budget, self.causal = memory_budget, causal
        self.done = done

    @property
    def state_eps(self) -> float:
        """See :class:`OwnModules`: only what has no rule is subtracted, in float64."""
        return float(torch.finfo(torch.float64).eps) if self.done.fallen else 0.0

    def tokens(self, length: int) -> int:
        """See :class:`OwnModules`: at most all of them."""
        return length

    @torch.no_grad()
    def run(self, work: Work) -> Iterator[Part]:
        """See :class:`negkernel.methods.base.Method`."""
        with borrowed(self.model) as state:
            for p, tokens in enumerate(work.tokens):
                state.restore()  # a prompt's numbers must not depend on those before it
                rows, shifted = work.rows(p, p + 1), list(work.shifted[p])
                seen: dict[int, Tensor] = {}
                layers = hooks.read_for(rows, work.neurons[p])
                reading = {layer: _keep(seen, layer, shifted) for layer in layers}
                logits, kept = self._base(tokens, work.spot.site, reading)
                base = _float(logits)[0, list(work.read[p])].log_softmax(-1)
                first = shifted[0] if self.causal else 0
                changes = []
                for index in torch.arange(len(rows)).split(self._chunk(len(tokens), first, base)):
                    moved = [at - first for at in shifted]
                    own = shifts_of(rows.take(index), moved, work.spot.axis, seen)
                    out = self._carry(tokens, first, kept, work.spot.site, own)
                    changes.append(_changes(out, work, p, first, base))
                yield part_of(work, p, base, changes, seen)

    def gradients(
        self, request: Request, site: Site, *, log: bool = False
    ) -> Iterator[LayerGradients]:
        """See :class:`negkernel.methods.base.Method`: one graph in the dtype of states."""
        if any(isinstance(place, ExpertSite) for place in site.caught(self.feed_forwards)):
            yield from super().gradients(request, site, log=log)  # in the model's own dtype
            return
        start = starts(request.reads)
        with borrowed(self.model) as state:
            for p, tokens in enumerate(request.tokens):
                state.restore()
                probes: dict[int, Tensor] = {}
                seen: dict[int, Tensor] = {}
                shifted, read = request.shifted[p], list(request.reads[p])
                targets = torch.from_numpy(request.columns[start[p] : start[p + 1]])
                edits = {
                    layer: _probe(layer, shifted, probes, seen)
                    for layer in range(len(self.feed_forwards))
                }
                with torch.enable_grad():
                    logits, _ = self._base(tokens, site, edits)
                    logprob = _float(logits)[0, read].log_softmax(-1)
                rows = slopes(logprob, targets, probes, log)
                widths = site.widths(self.feed_forwards)
                yield from by_layer(request, p, logprob, rows, seen, widths)

    def _base(self, tokens: Sequence[int], site: Site, catches: Catches) -> tuple[Any, list[Any]]:
        """Logits of the whole prompt, and the layers of the cache that was filled."""
        cache = keeping() if self.causal else None
        logits = self._forward(torch.tensor([list(tokens)]), site, catches, cache)
        return logits, [] if cache is None else list(cache.layers)

    def _carry(
        self, tokens: Sequence[int], first: int, kept: list[Any], site: Site, catches: Catches
    ) -> Any:
        """Logits of the tokens from ``first`` on, with rows."""
        cache = None
        if first:
            if len(kept) != len(self.feed_forwards) or any(
                layer.keys is None or layer.keys.shape[-2] != len(tokens) for layer in kept
            ):
                raise NotImplementedError(
                    f"{type(self.model).__name__} does not keep the keys and values of every "
                    "token in every layer"
                )
            cache = of_prefix(kept, first)
        return self._forward(torch.tensor([list(tokens[first:])]), site, catches, cache, first)

    def _forward(
        self, ids: Tensor, site: Site, catches: Catches, cache: DynamicCache | None, first: int = 0
    ) -> Any:
        ids = ids.to(input_device(self.model))
        options: dict[str, Any] = {}
        if accepts(self.model, "use_cache"):
            options["use_cache"] = cache is not None
        if cache is not None:
            options["past_key_values"] = cache
        if accepts(self.model, "position_ids") and first:
            options["position_ids"] = torch.arange(first, first + ids.shape[1])[None].to(ids)
        with running(self.done), self._caught(site, catches), self._embedded():
            return logits_of(self.model(input_ids=ids, **options))

    @contextmanager
    def _embedded(self) -> Iterator[None]:
        """Make carried tensors of embeddings, which is where everything begins."""
        state = self.done.precision.state

        def carry(module: Any, args: Any, out: Tensor) -> Carried:
            return Carried(out.to(state))

        handle = self.model.get_input_embeddings().register_forward_hook(carry)
        try:
            yield
        finally:
            handle.remove()

    @contextmanager
    def _caught(self, site: Site, catches: Catches) -> Iterator[None]:
        """Let ``catches`` see and change the neurons of their layers."""
        sites = site.caught(self.feed_forwards)
        experts = {}
        with ExitStack() as stack:
            for layer, action in catches.items():
                place = sites[layer]
                if isinstance(place, ExpertSite):
                    shift = action if isinstance(action, LayerShift) else None
                    read = None if shift is not None else action
                    experts[place.module] = Caught(place.name, shift, read)
                else:
                    stack.enter_context(place.edited(action))
            stack.enter_context(carried_experts(self.model, experts))
            yield

    def _chunk(self, length: int, first: int, base: Tensor) -> int:
        """Rows at once: their logits, hidden vectors and scores in half of the memory."""
        config = self.model.config.get_text_config()
        n = length - first
        widest = max(one.width for one in self.feed_forwards)
        heads = config.num_attention_heads
        each = (
            n * (12 * config.hidden_size + 8 * widest + 4 * heads * length) + 4 * n * base.shape[-1]
        )
        fit = self.memory_budget // (2 * each * base.element_size())
        return max(1, min(self.rows, MAX_POSITIONS // n, fit))


def _float(logits: Any) -> Tensor:
    if not isinstance(logits, Carried):
        raise NotImplementedError("the model left carried tensors on its way to the logits")
    return logits.base


def _changes(logits: Any, work: Work, p: int, first: int, base: Tensor) -> Tensor:
    """What is read off rows, from carried logits [1, n, V] and the base's log-probs [T, V]."""
    ids = work.targets[work.lines(p, p + 1)].to(base.device)
    change: Any = 0.0
    for own, target, at in zip(base, ids, work.read[p], strict=True):
        dz = logits[0, at - first].rows
        if dz is None:
            raise NotImplementedError(
                "the shift does not reach the answer through the model's modules"
            )
        mass = logprob_mass(own, dz, 1)
        if work.readings:
            return from_logprobs(own + dz - mass, own, target).cpu()
        change = change + where_read(target, dz[:, target.clamp(min=0)] - mass)
    return change.cpu()


def _keep(into: dict[int, Tensor], layer: int, tokens: Sequence[int]) -> Any:
    def read(x: Any) -> None:
        values = x.base if isinstance(x, Carried) else x
        into[layer] = values[torch.tensor(list(tokens))].clone()

    return read


def _probe(
    layer: int, tokens: Sequence[int], probes: dict[int, Tensor], seen: dict[int, Tensor]
) -> Any:
    def edit(x: Any) -> Carried:
        if not isinstance(x, Carried):
            raise NotImplementedError("no graph reaches the neurons of routed experts here")
        here = torch.tensor(list(tokens))
        seen[layer] = x.base[here].detach().clone()
        probes[layer] = torch.zeros_like(seen[layer], requires_grad=True)
        return Carried(x.base.index_add(0, here, probes[layer]))

    return edit
