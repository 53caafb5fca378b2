"""Load the models that the paper's public code knows by short names."""

from __future__ import annotations

import logging
import re
from typing import Any

import torch

from negkernel.arguments import check_flag, check_integer, shown
from negkernel.model.loading import load

log = logging.getLogger(__name__)

MODEL_TYPES = ("bert", "llama2", "llama3", "qwen")
_BALANCED, _AUTO = -1, -2  # what `gpu` means below 0
_LLAMA = re.compile(r"llama(?P<version>2|3|3\.1|3\.2)-(?P<size>\d+)b(?P<chat>-it)?")
_QWEN = re.compile(r"qwen2\.5-(?P<size>\d+)b(?P<chat>-it)?")


def get_model_type(model_name: str) -> str:
    """Tell the type of a model from its name: "bert", "llama2", "llama3" or "qwen".

    Raises
    ------
    ValueError
        The name begins with none of these.
    """
    name = str(model_name)
    if "bert" in name:
        return "bert"
    for kind in MODEL_TYPES:
        if name.startswith(kind):
            return kind
    raise ValueError(
        f"model name {shown(model_name)} tells no type; expected one that contains 'bert' or "
        "begins with 'llama2', 'llama3' or 'qwen', or pass model_type to NeurGrad yourself"
    )


def initialize_model_and_tokenizer(
    model_name: str, gpu: int = 0, only_tokenizer: bool = False
) -> tuple[Any, Any]:
    """Load a model in float32 and its tokenizer.

    Parameters
    ----------
    model_name : str
        A short name such as ``"llama3.2-3b-it"``, a folder, or a Hub id.
    gpu : int
        Which GPU; -1 spreads the model over all but the first, -2 over all. Without a GPU it is
        loaded on the CPU.
    only_tokenizer : bool
        Load no model.

    Returns
    -------
    model or None, tokenizer
    """
    check_integer("gpu", gpu, _AUTO)
    place = _hub_id(model_name)
    if check_flag("only_tokenizer", only_tokenizer):
        from transformers import AutoTokenizer

        model, tokenizer = None, AutoTokenizer.from_pretrained(place)
    else:
        device, options = None, {}
        if not torch.cuda.is_available():
            log.warning("no GPU here: %s is loaded on the CPU", model_name)
            device = "cpu"
        elif gpu < 0:
            options["device_map"] = "balanced_low_0" if gpu == _BALANCED else "auto"
        else:
            device = f"cuda:{gpu}"
        model, tokenizer = load(place, dtype="float32", device=device, task=None, options=options)
        model.eval()
    if getattr(tokenizer, "mask_token_id", None) is None:
        tokenizer.padding_side, tokenizer.pad_token = "left", tokenizer.eos_token
    return model, tokenizer


def _hub_id(name: str) -> str:
    """Where a model of a short name is found; other names are places themselves."""
    if found := _LLAMA.fullmatch(name):
        version, size, chat = found.group("version", "size", "chat")
        if version == "2":
            return f"meta-llama/Llama-2-{size}b-{'chat-hf' if chat else 'hf'}"
        family = "Meta-Llama-3" if version == "3" else f"Llama-{version}"
        return f"meta-llama/{family}-{size}B{'-Instruct' if chat else ''}"
    if found := _QWEN.fullmatch(name):
        return f"Qwen/Qwen2.5-{found['size']}B{'-Instruct' if found['chat'] else ''}"
    return f"answerdotai/ModernBERT-{name[11:]}" if name.startswith("modernbert-") else name
