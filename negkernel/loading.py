"""Models: where they come from, what they are for, and how much room they leave."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

GIB = 1024**3


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
        Nothing to load at ``path_or_id``, or a task this release does not serve.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if task not in (None, "causal"):
        raise ValueError(f"task {task!r} is unknown; expected 'causal'")
    path = Path(path_or_id)
    if path.exists() and not (path / "config.json").is_file():
        raise ValueError(
            f"{str(path_or_id)!r} is not a model folder: it has no config.json; expected a folder "
            "written by save_pretrained, or a Hub id"
        )
    hub = {
        k: options[k]
        for k in ("revision", "token", "cache_dir", "trust_remote_code")
        if k in options
    }
    try:
        model = AutoModelForCausalLM.from_pretrained(path_or_id, dtype=dtype, **options)
        tokenizer = AutoTokenizer.from_pretrained(path_or_id, **hub)
    except OSError as error:
        raise ValueError(
            f"cannot load a model from {str(path_or_id)!r}: {_first_line(error)}; expected a "
            "folder written by save_pretrained, or a Hub id that can be reached"
        ) from error
    return (model if device is None else model.to(device)).eval(), tokenizer


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0].rstrip(".")


def model_task(model: Any, task: str | None) -> str:
    """Return what a model is for ("causal"), checked against what the caller says.

    Raises
    ------
    ValueError
        Not a causal language model, or not a Hugging Face model at all.
    """
    if not hasattr(model, "config") or not hasattr(model, "get_input_embeddings"):
        raise ValueError(
            f"{type(model).__name__} is not a Hugging Face model; expected a "
            "transformers.PreTrainedModel such as AutoModelForCausalLM returns"
        )
    if task not in (None, "causal"):
        raise ValueError(f"task {task!r} is unknown; expected 'causal'")
    if model.get_output_embeddings() is None or model.config.is_encoder_decoder:
        raise ValueError(
            f"{type(model).__name__} is not a causal language model with an LM head; load it with "
            "AutoModelForCausalLM"
        )
    return "causal"


def prompt_limit(config: Any) -> int | None:
    """Longest prompt in tokens that the model's positions allow, None if there is no limit."""
    limit = getattr(config, "max_position_embeddings", None)
    rope = getattr(config, "rope_parameters", None) or {}
    if limit is not None and rope.get("rope_type") == "dynamic":
        return int(limit * rope.get("factor", 1.0))
    return limit


def default_memory_budget(device: torch.device) -> int:
    """One GiB of scratch, or half of what is free if that is less."""
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
    else:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        meminfo = Path("/proc/meminfo")
        if meminfo.exists():  # counts what the page cache would give back
            fields = dict(line.split(":") for line in meminfo.read_text().splitlines())
            free = int(fields["MemAvailable"].split()[0]) * 1024
    return min(GIB, free // 2)
