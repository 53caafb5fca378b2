"""Which architectures the delta forward knows, and why it refuses the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from negkernel.families.parts import Block, Decoder, Precision, Projection, bind
from negkernel.families.weights import why_not_dense

# The model is Any: what a family reads off it is checked by the family's tests, not by types.
Describe = Callable[[Any, Precision], Decoder]

_FAMILIES: dict[str, Describe] = {}
_SUFFIX = "Use method='suffix' (or 'auto'), which runs the model's own modules."


def register(*model_types: str) -> Callable[[Describe], Describe]:
    """Register a describing function for the ``config.model_type`` names given."""

    def keep(describe: Describe) -> Describe:
        for model_type in model_types:
            _FAMILIES[model_type] = describe
        return describe

    return keep


def registered() -> tuple[str, ...]:
    """Return the ``model_type`` names that ``method="delta"`` serves, sorted."""
    return tuple(sorted(_FAMILIES))


def describe(model: Any, precision: Precision) -> Decoder:
    """Describe ``model`` for the delta forward.

    Raises
    ------
    NotImplementedError
        When the architecture is not registered, or a module of it has been replaced by one
        that cannot be read (an adapter, offloaded weights).
    """
    model_type = getattr(model.config, "model_type", type(model).__name__)
    if model_type not in _FAMILIES:
        raise NotImplementedError(
            f"method='delta' does not know the architecture {model_type!r}; it knows "
            f"{', '.join(registered())}. {_SUFFIX}"
        )
    decoder: Decoder = bind(_FAMILIES[model_type](model, precision), precision)
    for projection in _projections(decoder):
        reason = why_not_dense(projection.module)
        if reason is not None:
            raise NotImplementedError(
                f"method='delta' cannot read this {model_type} model: {reason}. {_SUFFIX}"
            )
    return decoder


def unserved(model: Any, what: str) -> NotImplementedError:
    """Return the error for a model of a known family that sets something without a delta form."""
    return NotImplementedError(
        f"method='delta' does not serve a {model.config.model_type} model with {what}. {_SUFFIX}"
    )


def _projections(decoder: Decoder) -> list[Projection]:
    found = [decoder.head] if decoder.projection is None else [decoder.head, decoder.projection]
    for block in decoder.blocks:
        found += _block_projections(block)
    return found


def _block_projections(block: Block) -> list[Projection]:
    attention, mlp = block.attention, block.mlp
    found = [attention.query, attention.key, attention.value, attention.output, mlp.up, mlp.down]
    return found if mlp.gate is None else [*found, mlp.gate]
