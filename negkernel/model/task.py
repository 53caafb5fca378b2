"""Tell what models and checkpoints are for: causal or masked language modelling, or neither."""

from __future__ import annotations

import re
from typing import Any

from negkernel.arguments import check_choice

# What the names of classes with a language model's head have in common.
_LM_CLASS = re.compile(
    r"ForCausalLM|ForMaskedLM|ForPreTraining|LMHead|WithLM|ForConditionalGeneration|"
    r"DoubleHeads|GenerationDecoder"
)


class ModelError(ValueError):
    """A model or checkpoint that cannot be used; the message says what was expected."""


def model_task(model: Any, task: str | None) -> str:
    """Return what a model is for ("causal" or "masked"), checked against what the caller says.

    Raises
    ------
    ValueError
        Neither, of the other kind, or not a Hugging Face model at all.
    """
    if not hasattr(model, "config") or not hasattr(model, "get_input_embeddings"):
        raise ModelError(
            f"{type(model).__name__} is not a Hugging Face model; expected a "
            "transformers.PreTrainedModel such as AutoModelForCausalLM returns"
        )
    name = type(model).__name__
    if model.config.is_encoder_decoder:
        raise ModelError(
            f"{name} is an encoder-decoder, whose halves read different tokens; expected a causal "
            "or masked language model of one stack"
        )
    if model.get_output_embeddings() is None:
        raise ModelError(
            f"{name} is not a causal or masked language model with an LM head; load it with "
            "AutoModelForCausalLM or AutoModelForMaskedLM"
        )
    own = "masked" if any(map(_is_masked, (c.__name__ for c in type(model).__mro__))) else "causal"
    if own == "causal" and _masked_by_type(model.config):
        if _masked_class(model.config) == name:  # XLM has one class for both
            return _agreed(name, "masked", task)
        raise ModelError(
            f"{name} sees in both directions although it is a causal class: its architecture "
            f"{model.config.model_type!r} is a masked one. Load it with AutoModelForMaskedLM "
            "(or set config.is_decoder if it was trained as a decoder)"
        )
    return _agreed(name, own, task)


def checkpoint_task(config: Any, task: str | None) -> str:
    """Return what a checkpoint is for, from its config, checked against what the caller says.

    Raises
    ------
    ValueError
        A config that names two architectures, a masked checkpoint asked for as causal or the
        reverse, or an unknown task.
    """
    models = [name for name in config.architectures or [] if _LM_CLASS.search(name)]
    if models:
        _check_type(config, models[0])
        return _agreed(models[0], "masked" if _is_masked(models[0]) else "causal", task)
    return _agreed(config.model_type, "masked" if _masked_by_type(config) else "causal", task)


def class_without_head(config: Any) -> str | None:
    """Name of the class that a checkpoint was saved by, if that is no language model.

    Code of the checkpoint's own may call its classes as it likes.
    """
    named = config.architectures or []
    known = any(_LM_CLASS.search(name) for name in named) or getattr(config, "auto_map", None)
    return named[0] if named and not known else None


def _check_type(config: Any, name: str) -> None:
    """Refuse a config whose class and model type disagree: one of them was written by hand."""
    import transformers

    known = getattr(getattr(transformers, name, None), "config_class", None)
    own = getattr(known, "model_type", config.model_type)
    if own != config.model_type:
        raise ModelError(
            f"its config names the architecture {name} ({own!r}) but the model_type "
            f"{config.model_type!r}; expected both to name the architecture of the weights"
        )


def _agreed(name: str, own: str, task: str | None) -> str:
    if task is not None:
        check_choice("task", task, ("causal", "masked"))
    if task not in (None, own):
        raise ModelError(
            f"{name} is a {own} language model but task={task!r} was asked for; leave task out or "
            f"pass task={own!r}"
        )
    return own


def _is_masked(class_name: str) -> bool:
    return class_name.endswith(("ForMaskedLM", "ForPreTraining"))


def _masked_by_type(config: Any) -> bool:
    """Whether the architecture has a masked class and this config does not make it a decoder."""
    decoder = any(getattr(config, name, False) for name in ("is_decoder", "causal"))
    return _masked_class(config) is not None and not (decoder or config.is_encoder_decoder)


def _masked_class(config: Any) -> str | None:
    """Name of the architecture's class for masked language modelling, if it has one."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

    return MODEL_FOR_MASKED_LM_MAPPING_NAMES.get(config.model_type)
