"""Find the Hugging Face model inside what other libraries wrap around it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from negkernel.model.components import hooked, without_components
from negkernel.model.state import foreign_hooks
from negkernel.model.task import ModelError

_DEPTH = 8  # wrappers around wrappers


def adapt(obj: Any) -> Any:
    """Return the Hugging Face model in ``obj``, on the tensors that lie there.

    Parameters
    ----------
    obj : object
        A ``transformers.PreTrainedModel``, or one inside nnsight's models (``_module``), a
        ``TransformerBridge`` of TransformerLens (``original_model``, without the components that
        the bridge has put around its modules, unless hooks are live on them), an
        ``IntervenableModel`` of pyvene (``model``), ``torch.compile``, ``DataParallel``,
        ``DistributedDataParallel`` or PEFT.

    Returns
    -------
    transformers.PreTrainedModel
        The very model where nothing lies around its modules.

    Raises
    ------
    ValueError
        No model, two of them, weights that TransformerLens has rewritten, or a wrapper with forward
        hooks of its own, which would not run; the message says what to pass.
    NotImplementedError
        A wrapper that computes something of its own, such as PEFT's virtual tokens.
    """
    return see(obj).model


@dataclass(frozen=True)
class Seen:
    """A model as it lies in what was passed in.

    Attributes
    ----------
    given
        With all that lies around its modules.
    bare
        With nothing around them, on the same tensors: where neurons are caught.
    model
        The one of these that computes what was passed in: ``given`` where hooks are live.
    """

    given: Any
    bare: Any
    model: Any


def see(obj: Any) -> Seen:
    """Look at an object as :func:`adapt` does; raises what it does."""
    if getattr(obj, "_weights_processed", False):
        raise ModelError(
            f"the weights of this {type(obj).__name__} were folded and centred: they are no longer "
            "the checkpoint's. Boot another one without enable_compatibility_mode(), or with "
            "enable_compatibility_mode(no_processing=True)"
        )
    given = _unwrapped(obj)
    bare = without_components(given)
    return Seen(given, bare, given if hooked(given) else bare)


def _unwrapped(obj: Any) -> Any:
    for _ in range(_DEPTH):
        inside = _inside(obj)
        if inside is None:
            break
        if isinstance(obj, nn.Module) and foreign_hooks(obj):
            raise ModelError(
                f"the {type(obj).__name__} around the model carries a forward hook, which would "
                "not run; remove it, or put it on the model inside"
            )
        obj = inside
    if not is_model(obj):
        raise ModelError(_advice(obj))
    return obj


def tokenizer_of(obj: Any) -> Any:
    """Return the tokenizer that a wrapper brings along, or None."""
    return None if _inside(obj) is None else getattr(obj, "tokenizer", None)


def is_model(obj: Any) -> bool:
    """Whether ``obj`` has what every Hugging Face model has."""
    return isinstance(obj, nn.Module) and all(
        hasattr(obj, name) for name in ("config", "get_input_embeddings", "get_output_embeddings")
    )


def _inside(obj: Any) -> Any:
    """What a known wrapper is around, or None."""
    kinds = [cls.__name__ for cls in type(obj).__mro__]
    if "Envoy" in kinds and isinstance(getattr(obj, "_module", None), nn.Module):
        return obj._module
    if "TransformerBridge" in kinds:
        return obj.original_model
    if "IntervenableModel" in kinds and hasattr(obj, "interventions"):
        return obj.model
    if "OptimizedModule" in kinds:
        return obj._orig_mod
    if isinstance(obj, DataParallel | DistributedDataParallel):
        return obj.module
    if "PeftModel" in kinds:
        return _adapted(obj)
    return None


def _adapted(obj: Any) -> Any:
    """The model in a PEFT model whose layers are modules of it."""
    config = getattr(obj, "active_peft_config", None)
    if config is None or config.is_prompt_learning or config.peft_type == "XLORA":
        how = "several adapters" if config is None else config.peft_type.value
        raise NotImplementedError(
            f"{type(obj).__name__} with {how} computes more than the model inside it, such as "
            "virtual tokens before a prompt; pass its get_base_model() to ask about that model "
            "alone"
        )
    return obj.get_base_model()


def _advice(obj: Any) -> str:
    """Say what to pass in the place of an object that is no model."""
    name = type(obj).__name__
    if "HookedTransformer" in (cls.__name__ for cls in type(obj).__mro__):
        config = getattr(obj, "cfg", None)
        known = getattr(config, "tokenizer_name", None) or getattr(config, "model_name", None)
        return (
            f"a {name} computes with weights and modules of its own; load the same checkpoint with "
            f"Engine.from_pretrained({known or '<its Hub id>'!r})"
        )
    held = sorted(dict(_held(obj)))
    if not held:
        return (
            f"{name} is not a Hugging Face model; expected a transformers.PreTrainedModel such as "
            "AutoModelForCausalLM returns, or a known wrapper of one (negkernel.adapt)"
        )
    if len(held) > 1:
        which = f"holds {len(held)} models ({', '.join('.' + one for one in held)})"
        return f"{name} {which}; pass the one that is meant, such as Engine(obj.{held[0]}, ...)"
    return f"{name} is not a Hugging Face model but holds one: pass Engine(obj.{held[0]}, ...)"


def _held(obj: Any) -> Iterator[tuple[str, Any]]:
    """Models among the attributes of ``obj``, each once."""
    seen: set[int] = set()
    for place in (getattr(obj, "__dict__", {}), getattr(obj, "_modules", {})):
        for name, value in place.items():
            if (is_model(value) or _inside(value) is not None) and id(value) not in seen:
                seen.add(id(value))
                yield name, value
