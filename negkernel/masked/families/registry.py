"""Which masked architectures the delta forward knows, and why it refuses the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from negkernel.families.activations import activation_name
from negkernel.families.parts import Precision, bind
from negkernel.families.weights import why_not_dense
from negkernel.masked.parts import Encoder

Describe = Callable[[Any, Precision], Encoder]

_FAMILIES: dict[str, Describe] = {}


def register(*model_types: str) -> Callable[[Describe], Describe]:
    """Register a describing function for the ``config.model_type`` names given."""

    def keep(describe: Describe) -> Describe:
        for model_type in model_types:
            _FAMILIES[model_type] = describe
        return describe

    return keep


def registered() -> tuple[str, ...]:
    """Return the ``model_type`` names of masked models that ``method="delta"`` serves, sorted."""
    return tuple(sorted(_FAMILIES))


def describe(model: Any, precision: Precision) -> Encoder:
    """Describe a masked ``model`` for the delta forward.

    Raises
    ------
    NotImplementedError
        When the architecture is not registered, or a module of it cannot be read.
    """
    model_type = getattr(model.config, "model_type", type(model).__name__)
    if model_type not in _FAMILIES:
        raise NotImplementedError(
            f"method='delta' does not know the masked architecture {model_type!r}; it knows "
            f"{', '.join(registered())}. Use method='full' (or 'auto'), which runs the model's "
            "own modules."
        )
    encoder: Encoder = bind(_FAMILIES[model_type](model, precision), precision)
    for projection in encoder.projections():
        reason = why_not_dense(projection.module)
        if reason is not None:
            raise NotImplementedError(
                f"method='delta' cannot read this {model_type} model: {reason}. Use method='full' "
                "(or 'auto'), which runs the model's own modules."
            )
    return encoder


def activation(hidden_act: str) -> str:
    """Translate a config's activation name; see ``families.activations.activation_name``.

    Raises
    ------
    NotImplementedError
        For an activation whose difference form is not implemented.
    """
    try:
        return activation_name(hidden_act)
    except NotImplementedError:
        raise NotImplementedError(
            f"activation {hidden_act!r} has no difference form here; use method='full' (or 'auto')"
        ) from None
