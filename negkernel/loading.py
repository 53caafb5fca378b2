"""Models: where they come from, what they are for, and how much room they leave."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from negkernel.extras import need

GIB = 1024**3

# Endings of class names that say what a model is for; a bare encoder's does not.
_LM_CLASSES = ("ForMaskedLM", "ForCausalLM", "LMHeadModel", "ForPreTraining")


def load(
    path_or_id: str,
    *,
    dtype: str | torch.dtype,
    device: str | torch.device | None,
    task: str | None,
    options: dict[str, Any],
) -> tuple[Any, Any]:
    """Load (model, tokenizer) with transformers' auto classes.

    Raises
    ------
    ValueError
        Nothing to load at ``path_or_id``, files that are damaged, a checkpoint for another task
        than the one asked for, or an unknown dtype or device.
    """
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer

    path = Path(path_or_id)
    gguf_file = options.get("gguf_file")
    if gguf_file is not None:
        need("gguf", "gguf", "a GGUF file")
    elif path.exists() and not (path / "config.json").is_file():
        raise ValueError(
            f"{str(path_or_id)!r} is not a model folder: it has no config.json; expected a folder "
            "written by save_pretrained, or a Hub id"
        )
    hub = {
        k: options[k]
        for k in ("revision", "token", "cache_dir", "trust_remote_code", "gguf_file")
        if k in options
    }
    named = isinstance(dtype, str) and isinstance(getattr(torch, dtype, None), torch.dtype)
    if not (isinstance(dtype, torch.dtype) or dtype == "auto" or named):
        raise ValueError(f"dtype {dtype!r} is unknown; expected 'auto' or one such as 'bfloat16'")
    if device is not None:
        _check_device(device)
    with _readable("model", path_or_id):
        config = AutoConfig.from_pretrained(path_or_id, **hub)
    auto = AutoModelForCausalLM
    if checkpoint_task(config, task) == "masked":
        auto = AutoModelForMaskedLM
    with _readable("model", path_or_id):
        model = auto.from_pretrained(path_or_id, dtype=dtype, **options)
    if gguf_file is not None:
        _forget_quantization(model)
    with _readable("tokenizer", path_or_id):
        tokenizer = AutoTokenizer.from_pretrained(path_or_id, **hub)
    return (model if device is None else model.to(device)).eval(), tokenizer


def _forget_quantization(model: Any) -> None:
    """Make a dequantized model what it is: dense, and fit to be saved."""
    for owner, name in ((model.config, "quantization_config"), (model, "hf_quantizer")):
        if hasattr(owner, name):
            delattr(owner, name)
    model.is_quantized = False


def _check_device(device: str | torch.device) -> None:
    """Refuse a device that torch does not know or does not find, before anything is read."""
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:  # a torch built without CUDA asserts
        raise ValueError(
            f"device {str(device)!r} cannot be used: {_first_line(error)}; expected one that torch "
            "finds here, such as 'cpu' or 'cuda'"
        ) from error


@contextmanager
def _readable(what: str, path_or_id: str) -> Iterator[None]:
    """Turn what transformers raises for missing and damaged files into one ValueError."""
    try:
        yield
    except OSError as error:
        raise ValueError(
            f"cannot load a {what} from {str(path_or_id)!r}: {_first_line(error)}; expected a "
            "folder written by save_pretrained, or a Hub id that can be reached"
        ) from error
    except (ValueError, SafetensorError) as error:
        raise ValueError(
            f"cannot load a {what} from {str(path_or_id)!r}: {_first_line(error)}; check that its "
            "files are there and complete"
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0].rstrip(".")


def model_task(model: Any, task: str | None) -> str:
    """Return what a model is for ("causal" or "masked"), checked against what the caller says.

    Raises
    ------
    ValueError
        Neither, of the other kind, or not a Hugging Face model at all.
    """
    if not hasattr(model, "config") or not hasattr(model, "get_input_embeddings"):
        raise ValueError(
            f"{type(model).__name__} is not a Hugging Face model; expected a "
            "transformers.PreTrainedModel such as AutoModelForCausalLM returns"
        )
    name = type(model).__name__
    if model.get_output_embeddings() is None or model.config.is_encoder_decoder:
        raise ValueError(
            f"{name} is not a causal or masked language model with an LM head; load it with "
            "AutoModelForCausalLM or AutoModelForMaskedLM"
        )
    own = "masked" if any(map(_is_masked, (c.__name__ for c in type(model).__mro__))) else "causal"
    if own == "causal" and _masked_by_type(model.config):
        raise ValueError(
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
        A masked checkpoint asked for as causal or the reverse, or an unknown task.
    """
    names = [name for name in config.architectures or [] if name.endswith(_LM_CLASSES)]
    if names:
        return _agreed(names[0], "masked" if _is_masked(names[0]) else "causal", task)
    return _agreed(config.model_type, "masked" if _masked_by_type(config) else "causal", task)


def _agreed(name: str, own: str, task: str | None) -> str:
    if task not in (None, "causal", "masked"):
        raise ValueError(f"task {task!r} is unknown; expected 'causal' or 'masked'")
    if task not in (None, own):
        raise ValueError(
            f"{name} is a {own} language model but task={task!r} was asked for; leave task out or "
            f"pass task={own!r}"
        )
    return own


def _is_masked(class_name: str) -> bool:
    return class_name.endswith(("ForMaskedLM", "ForPreTraining"))


def _masked_by_type(config: Any) -> bool:
    """Whether the architecture has a masked class and this config does not make it a decoder."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

    known = config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES
    decoder = getattr(config, "is_decoder", False) or config.is_encoder_decoder
    return known and not decoder


def prompt_limit(config: Any) -> int | None:
    """Longest prompt in tokens that the model's positions allow, None if there is no limit."""
    limit = getattr(config, "max_position_embeddings", None)
    if limit is not None and config.model_type in ("roberta", "xlm-roberta", "camembert"):
        return int(limit - config.pad_token_id - 1)  # positions start after the padding index
    rope = getattr(config, "rope_parameters", None) or {}
    if limit is not None and rope.get("rope_type") == "dynamic":
        return int(limit * rope.get("factor", 1.0))
    return limit


def default_memory_budget(device: torch.device) -> int:
    """Bytes of scratch: half of what is free, but no more than keeps the device busy.

    One GiB on a CPU. Six on a GPU, which wants thousands of rows at once: one GiB would hold 1,400
    rows of a 7B model.
    """
    if device.type == "cuda":
        most, free = 6 * GIB, torch.cuda.mem_get_info(device)[0]
    else:
        most = GIB
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        meminfo = Path("/proc/meminfo")
        if meminfo.exists():  # counts what the page cache would give back
            fields = dict(line.split(":") for line in meminfo.read_text().splitlines())
            free = int(fields["MemAvailable"].split()[0]) * 1024
    return min(most, free // 2)
