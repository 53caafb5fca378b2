"""Neurons of a mixture of experts: those of a layer's routed experts, one expert after another.

transformers keeps the experts' matrices in two tensors and their activations inside one forward,
where no hook reaches. That forward is therefore written out here, with a place for the edit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakSet

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from negkernel.families.feed_forward import Edit


@dataclass(frozen=True)
class Experts:
    """Routed experts of one layer.

    Neuron ``i`` is neuron ``i % n`` of expert ``i // n``, ``n`` neurons to an expert. Where the
    router did not choose its expert for the probed token its activation is 0 and shifting it does
    nothing.

    Attributes
    ----------
    module : nn.Module
        Holds ``gate_up_proj`` [E, 2 n, H] with ``_apply_gate``, or ``up_proj`` [E, n, H] with
        ``act_fn``, and ``down_proj`` [E, H, n]; all may be transposed, have biases and alternate
        gates and ups, as transformers' attributes of the module say. Its forward takes tokens
        [T, H], the chosen experts [T, k] and their weights [T, k].
    """

    module: Any

    @property
    def width(self) -> int:
        """Neurons of all experts."""
        n_experts, per_expert = _size(self.module)
        return n_experts * per_expert

    @property
    def gated(self) -> bool:
        """Whether every expert is a gated MLP."""
        return _gated(self.module)

    @property
    def number(self) -> int:
        """How many experts there are."""
        return _size(self.module)[0]

    def columns(self, name: str) -> slice:
        """Where the neurons "gate" or "up" are among the outputs of :meth:`first`."""
        return _columns(self.module, name, _size(self.module)[1])

    def first(self, e: int, x: Any) -> Any:
        """Outputs of expert ``e``'s first projection for tokens ``x`` [T, H]."""
        return _linear(self.module, "gate_up_proj" if self.gated else "up_proj", e, x)

    def activate(self, inner: Any) -> Any:
        """What the down projection reads, from what :meth:`first` gives."""
        act = self.module._apply_gate if self.gated else self.module.act_fn
        return act(inner)

    def second(self, e: int, hidden: Any) -> Any:
        """Outputs of expert ``e``."""
        return _linear(self.module, "down_proj", e, hidden)

    def site(self, name: str) -> ExpertSite:
        """Return where the resolved site ``name`` can be caught."""
        return ExpertSite(self.module, name)


@dataclass(frozen=True)
class ExpertSite:
    """The experts' "gate", "up" or "post", as columns of one matrix [T, E * n]."""

    module: Any
    name: str

    @contextmanager
    def edited(self, edit: Edit) -> Iterator[None]:
        """Apply ``edit`` in every forward of the experts until left.

        Raises
        ------
        NotImplementedError
            The experts' forward was replaced, or computes something else than what is written
            out here.
        """
        # accelerate keeps the module's own forward there, and brings its weights before calling it.
        place = "_old_forward" if hasattr(self.module, "_hf_hook") else "forward"
        if place == "forward" and "forward" in vars(self.module):
            raise NotImplementedError(
                f"the forward of {type(self.module).__name__} has been replaced; its neurons can "
                "only be caught in the module's own"
            )
        own = getattr(self.module, place)

        def forward(*args: Tensor, **kwargs: Tensor) -> Tensor:
            given = (*args, *kwargs.values())
            if self.module not in _CHECKED:
                _check(self.module, own, given)
                _CHECKED.add(self.module)
            return _forward(self.module, given, self.name, edit)

        setattr(self.module, place, forward)
        try:
            yield
        finally:
            if place == "forward":
                del self.module.forward
            else:
                self.module._old_forward = own


_CHECKED: WeakSet[nn.Module] = WeakSet()  # experts whose forward was found to be the one below


def _check(module: Any, own: Callable[..., Tensor], given: tuple[Tensor, ...]) -> None:
    """Refuse experts whose own forward does not give what :func:`_forward` does."""
    right = own(*given)
    found = _forward(module, given, "post", lambda _: None)
    # Half the digits: another order of sums passes, another function does not.
    budget = torch.finfo(right.dtype).eps ** 0.5 * right.abs().max()
    if not ((found - right).abs().max() <= budget).item():
        raise NotImplementedError(
            f"{type(module).__name__} has the weights of a mixture of gated MLPs but computes "
            "something else; its neurons cannot be caught"
        )


def _forward(module: Any, given: tuple[Tensor, ...], name: str, edit: Edit) -> Tensor:
    x, chosen, weight = given
    T, (E, n) = len(x), _size(module)
    # The router writes E where it drops a choice: one column more, cut off again.
    share = weight.new_zeros(T, E + 1).scatter_add(1, chosen, weight)
    routed = torch.zeros_like(share, dtype=torch.bool).scatter(1, chosen, True)[:, :E]
    used = [(e, routed[:, e].nonzero()[:, 0]) for e in routed.any(0).nonzero()[:, 0].tolist()]

    experts = Experts(module)
    inner = x.new_zeros(T, E, 2 * n if experts.gated else n)
    for e, tokens in used:
        inner[tokens, e] = experts.first(e, x[tokens])
    if name != "post":
        columns = _columns(module, name, n)
        changed = edit(inner[..., columns].reshape(T, -1))
        if changed is not None:
            inner[..., columns] = changed.view(T, E, n)
    hidden = x.new_zeros(T, E, n)
    for e, tokens in used:
        hidden[tokens, e] = experts.activate(inner[tokens, e])
    if name == "post":
        changed = edit(hidden.reshape(T, -1))
        hidden = hidden if changed is None else changed.view(T, E, n)

    out = torch.zeros_like(x)
    for e, tokens in used:
        expert = experts.second(e, hidden[tokens, e]) * share[tokens, e, None]
        out = out.index_add(0, tokens, expert.to(out.dtype))
    return out


def _linear(module: Any, name: str, e: int, x: Tensor) -> Tensor:
    weight = getattr(module, name)[e]
    bias = getattr(module, f"{name}_bias")[e] if getattr(module, "has_bias", False) else None
    return F.linear(x, weight.t() if _transposed(module) else weight, bias)


def _columns(module: Any, name: str, n: int) -> slice:
    """Where the gates or the ups are among the outputs of the first product."""
    if not _gated(module):
        return slice(0, n)
    second = name == "up"
    if getattr(module, "is_concatenated", True):
        return slice(n, 2 * n) if second else slice(0, n)
    return slice(int(second), None, 2)


def _gated(module: Any) -> bool:
    return isinstance(getattr(module, "gate_up_proj", None), Tensor)


def _transposed(module: Any) -> bool:
    return bool(getattr(module, "is_transposed", False))


def _size(module: Any) -> tuple[int, int]:
    """Experts, and neurons of each."""
    E, rows, columns = module.down_proj.shape
    return int(E), int(rows if _transposed(module) else columns)


def routed_experts(layer: nn.Module) -> Experts | None:
    """Return a layer's routed experts, None where none are laid out as :class:`Experts` says."""
    return next((Experts(module) for module in layer.modules() if routed(module)), None)


def routed(experts: Any) -> bool:
    """Whether a module is routed experts as :class:`Experts` lays them out."""
    first = getattr(experts, "gate_up_proj", getattr(experts, "up_proj", None))
    down = getattr(experts, "down_proj", None)
    if not (isinstance(first, Tensor) and isinstance(down, Tensor) and first.dim() == 3):
        return False
    activation = "_apply_gate" if _gated(experts) else "act_fn"
    return (
        down.dim() == 3
        and hasattr(experts, activation)
        and not getattr(experts, "has_post_expert_norm", False)
    )
