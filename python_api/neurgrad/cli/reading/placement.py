"""``--device-map``, ``--offload``, ``--quantize`` and ``--memory``: where a model's weights go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from negkernel.extras import need
from neurgrad.cli.errors import blame, refuse
from neurgrad.cli.reading.sizes import parse_size

if TYPE_CHECKING:
    import torch

    from neurgrad.cli.reading.asked import ModelOptions


def check_placement(asked: ModelOptions) -> int | None:
    """Check what can be checked of the options before anything is loaded.

    Returns
    -------
    int or None
        Bytes of scratch.

    Raises
    ------
    typer.BadParameter
        Options that exclude each other, a folder that cannot be used, a missing package.
    """
    if asked.device is not None and asked.device_map is not None:
        refuse("--device-map", f"{asked.device_map!r}: --device is given too; leave one out")
    if asked.offload is not None:
        shown = repr(str(asked.offload))
        if asked.device_map is None:
            refuse("--offload", f"{shown} is for --device-map auto or disk, which is missing")
        if asked.offload.exists() and not asked.offload.is_dir():
            refuse("--offload", f"{shown} is a file; expected a folder")
    elif asked.device_map == "disk":
        refuse("--device-map", "'disk': add --offload DIR, a folder for weights")
    if asked.device_map is not None:
        with blame("--device-map", asked.device_map):
            need("accelerate", "devices", "a device map")
    if asked.quantize is not None:
        with blame("--quantize", asked.quantize):
            if asked.device_map == "disk":
                raise ValueError("such weights cannot be fetched from files; leave one out")
            need("bitsandbytes", "quantization", "quantizing")
    if asked.memory is None:
        return None
    with blame("--memory", asked.memory):
        return parse_size(asked.memory)


def placement(asked: ModelOptions, device: torch.device) -> dict[str, Any]:
    """Return what ``Engine.from_pretrained`` is told of the places of weights."""
    if asked.device_map is None and asked.quantize is None:
        return {"device": device}
    where: Any = asked.device_map
    if where is None:
        where = {"": device}
    elif where == "disk":
        where = {"": "disk"}
    found: dict[str, Any] = {"device_map": where}
    if asked.offload is not None:
        asked.offload.mkdir(parents=True, exist_ok=True)
        found["offload_folder"] = str(asked.offload)
    if asked.quantize is not None:
        found["quantization_config"] = _quantization(asked.quantize)
    return found


def _quantization(kind: str) -> Any:
    from transformers import BitsAndBytesConfig

    if kind == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type=kind)
