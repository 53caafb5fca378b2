"""Run a layer's routed experts on carried rows: each row goes to the experts it chooses itself.

With share ``s_e`` of expert e, its output ``f_e``, and primes for the shifted row, the layer's
difference is ``sum_e (s'_e - s_e) f_e + s'_e (f'_e - f_e)``, which holds for experts that a row
drops (``s' = 0``) and takes up (``s = 0``) as well: that jump is the model's own. Rows are batched
by expert. Of equal router scores torch's ``topk`` decides, for rows as for the base.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from negkernel.hooks.experts import Experts, routed
from negkernel.methods.generic.carrier import Carried, base_of, differs
from negkernel.methods.generic.shifts import LayerShift
from negkernel.methods.generic.structure import count


@dataclass(frozen=True)
class Caught:
    """What happens to the neurons ``site`` of a layer's experts.

    Attributes
    ----------
    shift : LayerShift, optional
    read : callable, optional
        Is shown the base's neurons [tokens, E * n], and hands back what to use in their place.
    """

    site: str
    shift: LayerShift | None = None
    read: Callable[[Tensor], Any] | None = None


@contextmanager
def carried_experts(model: nn.Module, caught: Mapping[nn.Module, Caught]) -> Iterator[None]:
    """Let all routed experts of ``model`` take carried tensors until left."""
    with ExitStack() as stack:
        for module in filter(routed, list(model.modules())):
            if "forward" in vars(module):
                raise NotImplementedError(
                    f"the forward of {type(module).__name__} has been replaced; rows cannot be "
                    "carried through it"
                )
            layer = _Layer(module, caught.get(module))
            module.forward = layer.forward
            stack.callback(delattr, module, "forward")
        yield


class _Layer:
    """The experts of one layer."""

    def __init__(self, module: Any, caught: Caught | None):
        self.experts = Experts(module)
        self.module, self.caught = module, caught
        self.shift = None if caught is None else caught.shift

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Take tokens [T, H], chosen experts [T, k] and their shares, as the module's own does."""
        x, chosen, share = (*args, *kwargs.values())
        states, own = base_of(x), self._shares(base_of(share), base_of(chosen))
        base = torch.zeros_like(states)
        change, shares, dx = self._moving(x, chosen, share)
        neurons = states.new_zeros(len(states), self.experts.width)
        for e in range(own.shape[-1]):
            used = own[:, e] != 0
            if shares is not None:
                used = used | (shares[..., e] != 0).any(0)
            tokens = torch.nonzero(used)[:, 0]
            if not len(tokens):
                continue
            rows = None
            if shares is not None:
                rows = torch.nonzero((shares[:, tokens, e] != 0).any(1))[:, 0]
            moved = None if rows is None or dx is None else dx[rows][:, tokens]
            out = self._expert(e, Carried(states[tokens], moved), rows, tokens, neurons)
            base = base.index_add(0, tokens, own[tokens, e, None] * out.base)
            if change is not None and shares is not None and rows is not None:
                gone = (shares[:, tokens, e] - own[tokens, e]).unsqueeze(-1)
                change[:, tokens] += gone * out.base
                if out.rows is not None:
                    part = shares[rows][:, tokens, e].unsqueeze(-1) * out.rows
                    change[rows[:, None], tokens] += part
        if self.caught is not None and self.caught.read is not None:
            self.caught.read(torch.where(self._routed(own), neurons, 0))
        return Carried(base, change)

    def _routed(self, shares: Tensor) -> Tensor:
        """Which neurons [T, E * n] belong to an expert that is used."""
        per_expert = self.experts.width // self.experts.number
        return (shares != 0).repeat_interleave(per_expert, -1)

    def _moving(self, x: Any, chosen: Any, share: Any) -> tuple[Any, Any, Any]:
        """Differences to fill [R, T, H], rows' shares [R, T, E] and differences of the tokens."""
        if not differs(x, chosen, share) and self.shift is None:
            return None, None, None
        R = count(x, chosen, share) if self.shift is None else self.shift.n_rows

        def values(one: Any) -> Tensor:
            own = one.values() if isinstance(one, Carried) else one.unsqueeze(0)
            return own.expand(R, *own.shape[1:])

        states = base_of(x)
        dx = x.dense() if differs(x) else states.new_zeros(R, *states.shape)
        return states.new_zeros(R, *states.shape), self._shares(values(share), values(chosen)), dx

    def _expert(
        self, e: int, x: Carried, rows: Tensor | None, tokens: Tensor, neurons: Tensor
    ) -> Carried:
        """Output of expert ``e`` at ``tokens`` for ``rows``; its base neurons go to ``neurons``."""
        site = "" if self.caught is None else self.caught.site
        inner = self.experts.first(e, x)
        columns = self.experts.columns(site) if site not in ("", "post") else slice(0, 0)
        if site not in ("", "post"):
            part = self._caught(e, inner[..., columns], rows, tokens, neurons)
            if part is not None:
                inner = _put(inner, columns, part)
        hidden = self.experts.activate(inner)
        if site == "post":
            part = self._caught(e, hidden, rows, tokens, neurons)
            hidden = hidden if part is None else part
        out: Carried = self.experts.second(e, hidden)
        return out

    def _caught(
        self, e: int, x: Any, rows: Tensor | None, tokens: Tensor, neurons: Tensor
    ) -> Carried | None:
        n = x.shape[-1]
        neurons[tokens, e * n : (e + 1) * n] = x.base
        shift = self.shift
        if shift is None or rows is None:
            return None
        entries = torch.nonzero((shift.neuron // n == e) & torch.isin(shift.row, rows))[:, 0]
        here = tokens.tolist()
        kept = [place for place, token in enumerate(shift.tokens) if token in here]
        before = shift.before
        own = replace(
            shift,
            n_rows=len(rows),
            row=torch.searchsorted(rows, shift.row[entries]),
            neuron=shift.neuron[entries] % n,
            amount=shift.amount[entries],
            tokens=[here.index(shift.tokens[place]) for place in kept],
            before=None if before is None else before[kept, e * n : (e + 1) * n],
        )
        return own(x) if len(entries) and kept else None

    def _shares(self, share: Tensor, chosen: Tensor) -> Tensor:
        """Share [..., E] of each expert; the router writes E where it drops a choice."""
        E = self.experts.number
        full = share.new_zeros(*share.shape[:-1], E + 1).scatter_add(-1, chosen, share)
        return full[..., :E]


def _put(x: Any, columns: slice, part: Carried) -> Carried:
    base, rows = x.base.clone(), part.dense()
    assert rows is not None
    base[..., columns] = part.base
    old = x.dense()
    new = base.new_zeros(len(rows), *base.shape) if old is None else old.clone()
    new[..., columns] = rows
    return Carried(base, new)
