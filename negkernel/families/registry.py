"""Know which architectures have a difference form, and say why others are refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import nn

from negkernel.families.measured import Measured
from negkernel.families.parts import Description, Precision, bind, exchanged
from negkernel.families.resident import Loader, bringing, loaders_of, modules_of
from negkernel.families.weights import is_linear_like, storage

# The model is Any: what a family reads off it is checked by the family's tests, not by types.
Describe = Callable[[Any, Precision], Description]

_FAMILIES: dict[str, dict[str, Describe]] = {"causal": {}, "masked": {}}
_ADVICE = {
    "causal": "Use method='suffix' (or 'auto'), which runs the model's own modules.",
    "masked": "Use method='full' (or 'auto'), which runs the model's own modules.",
}


def register(*model_types: str, task: str = "causal") -> Callable[[Describe], Describe]:
    """Register a describing function for the ``config.model_type`` names given."""

    def keep(describe: Describe) -> Describe:
        _FAMILIES[task].update(dict.fromkeys(model_types, describe))
        return describe

    return keep


def registered(task: str = "causal") -> tuple[str, ...]:
    """Return the ``model_type`` names that ``method="delta"`` serves, sorted."""
    return tuple(sorted(_FAMILIES[task]))


def describe(model: Any, precision: Precision, task: str = "causal") -> Description:
    """Describe ``model`` for the delta forward.

    Raises
    ------
    NotImplementedError
        When the architecture is not registered, or a module of it has been replaced by one
        that is no linear layer.
    """
    model_type = getattr(model.config, "model_type", type(model).__name__)
    families, advice = _FAMILIES[task], _ADVICE[task]
    if model_type not in families:
        raise NotImplementedError(
            f"method='delta' does not know the {task} architecture {model_type!r}; it knows "
            f"{', '.join(registered(task))}. {advice}"
        )
    described: Description = bind(families[model_type](model, precision), precision)
    unknown = {one.module for one in described.projections() if storage(one.module) is None}
    names = {module: name for name, module in model.named_modules()}
    measured = {}
    for module in unknown:
        if not is_linear_like(module):
            raise NotImplementedError(
                f"method='delta' cannot read this {model_type} model: {type(module).__name__} is "
                f"not a linear layer. {advice}"
            )
        measured[module] = Measured(names[module], module, model.dtype)
    described = exchanged(described, measured) if measured else described
    loaders = loaders_of(model)
    return _brought(model, described, loaders) if loaders or measured else described


def _brought(model: Any, described: Description, loaders: dict[nn.Module, Loader]) -> Description:
    """Say what brings in the weights that the model does not hold itself."""
    head = described.final_norm, described.projection, described.head_norm, described.head
    # How tokens are embedded is a function, which does not tell of its modules: they are those
    # that belong neither to the head nor to a list of layers.
    theirs = set(modules_of(head)) - {model.get_input_embeddings()}
    below = [
        module
        for name, module in model.named_modules()
        if module not in theirs and not any(part.isdigit() for part in name.split("."))
    ]
    own = [loaders[module] for module in below if module in loaders]
    return replace(
        described,
        blocks=tuple(replace(one, loaders=bringing(loaders, one)) for one in described.blocks),
        embed_loaders=tuple(dict.fromkeys([*own, *bringing(loaders, described.rotaries)])),
        head_loaders=bringing(loaders, head),
    )


def unserved(model: Any, what: str) -> NotImplementedError:
    """Return the error for a model of a known family that sets something without a delta form."""
    return NotImplementedError(
        f"method='delta' does not serve a {model.config.model_type} model with {what}. "
        f"{_ADVICE['causal']}"
    )
