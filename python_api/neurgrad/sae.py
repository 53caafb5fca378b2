"""Read sparse autoencoders as directions: folders in SAELens' layout, and objects like its own.

A folder holds ``cfg.json`` and one safetensors file. Of the file only the decoder is needed,
``W_dec`` [features, H]; of the configuration, where the autoencoder reads: ``hook_name`` (or
``hook_point``) and, where that has no layer, ``hook_layer``, at the top or under ``metadata``. An
object has ``W_dec`` and ``cfg``, with the same names as attributes or keys. SAELens itself is not
needed.

The vectors are the decoder's own, so that a shift of 1 adds what the feature adds when its
activation grows by 1. They belong to the weights that the autoencoder was trained on: one trained
on a model with folded norms has other coordinates than the Hugging Face model.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from negkernel import Directions
from negkernel.arguments import shown
from negkernel.request.numbers import integers

# Hook points: where they are, and how many layers below.
_HOOKS = {
    "hook_resid_post": ("residual", 0),
    "hook_resid_pre": ("residual", 1),
    "hook_mlp_out": ("mlp_out", 0),
    "hook_attn_out": ("attention_out", 0),
}
# Paths of modules whose output it is; BERT's attention and output norm what they put out.
_LAYER = r"(?:.*\.)?(?:layers|h)\.(\d+)"
_MODULES = (
    (re.compile(_LAYER), "residual"),
    (re.compile(r"(?:.*\.)?encoder\.layer\.(\d+)"), "residual"),
    (re.compile(_LAYER + r"\.mlp(?:\.(?:down_proj|c_proj|fc2|dense_4h_to_h))?"), "mlp_out"),
    (
        re.compile(_LAYER + r"\.(?:self_attn|attn|attention)(?:\.(?:[oc]_proj|out_proj|dense))?"),
        "attention_out",
    ),
)
# TransformerLens reads what these add behind the norm that follows, negkernel before it.
_NORMED = ("gemma-2", "gemma-3", "olmo-2", "olmo-3", "olmo2", "olmo3")
# Of normalisations these leave the decoder as it is, or are folded into it before it is saved.
_FOLDED = ("none", "expected_average_only_in", "None", None)


def directions(source: Any, features: Any = None) -> Directions:
    """Decoder vectors of an autoencoder's features.

    Parameters
    ----------
    source : path, or an object with ``W_dec`` and ``cfg``
        A folder in SAELens' layout, or an autoencoder that is loaded.
    features : int array [N], optional
        Which features; by default all.

    Returns
    -------
    negkernel.Directions
        Of N vectors, where the autoencoder reads.

    Raises
    ------
    ValueError
        Not an autoencoder, a hook point that is no place of directions, or features that it does
        not have. A width that is not the model's is found when they are used.
    """
    config, decoder = _folder(Path(source)) if isinstance(source, str | Path) else _object(source)
    layer, at = _place(config)
    width = config.get("d_in")
    if decoder.ndim != 2 or (width is not None and decoder.shape[1] != width):
        raise ValueError(
            f"W_dec of the autoencoder has shape {list(decoder.shape)}; expected [features, "
            f"{'d_in' if width is None else width}]"
        )
    chosen = (
        np.arange(len(decoder))
        if features is None
        else np.atleast_1d(integers(features, "features"))
    )
    for feature in chosen[(chosen < 0) | (chosen >= len(decoder))][:1]:
        raise ValueError(
            f"feature {feature} is out of range; expected 0 <= feature < {len(decoder)}"
        )
    return Directions(np.asarray(layer), decoder[chosen], at)


def _folder(folder: Path) -> tuple[dict[str, Any], np.ndarray]:
    """Configuration and decoder [features, H] of a folder."""
    try:
        config = json.loads((folder / "cfg.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{folder} holds no autoencoder: cannot read cfg.json ({error}); expected a folder "
            "as SAELens saves it"
        ) from None
    files = sorted(folder.glob("*.safetensors"))
    named = [file for file in files if file.name == "sae_weights.safetensors"] or files
    if len(named) != 1 or not isinstance(config, dict):
        raise ValueError(
            f"{folder} holds {len(files)} safetensors files; expected sae_weights.safetensors "
            "beside cfg.json"
        )
    try:
        with safe_open(named[0], framework="pt") as file:
            if "W_dec" not in file.keys():  # noqa: SIM118 - the file is no mapping
                raise ValueError(
                    f"{named[0]} has no tensor 'W_dec'; expected W_enc, b_enc, W_dec and b_dec"
                )
            return _flat(config), _array(file.get_tensor("W_dec"))
    except SafetensorError as error:
        raise ValueError(f"{named[0]} is no whole safetensors file: {error}") from None


def _object(source: Any) -> tuple[dict[str, Any], np.ndarray]:
    """Configuration and decoder of an object."""
    config = getattr(source, "cfg", None)
    if not hasattr(source, "W_dec") or config is None:
        raise ValueError(
            f"{shown(source)} is no autoencoder; expected a folder, or an object with W_dec and cfg"
        )
    return _flat(config), _array(source.W_dec)


def _array(decoder: Any) -> np.ndarray:
    return torch.as_tensor(decoder).detach().double().cpu().numpy()


def _flat(config: Any) -> dict[str, Any]:
    """The settings of a configuration and of its ``metadata``, a mapping or an object each."""
    own = _settings(config)
    return own | _settings(own.get("metadata"))


def _settings(config: Any) -> dict[str, Any]:
    if isinstance(config, Mapping):
        return dict(config)
    known = getattr(config, "to_dict", None)
    return dict(known()) if callable(known) else dict(vars(config)) if config is not None else {}


def _place(config: Mapping[str, Any]) -> tuple[int, str]:
    """Layer and place of directions that a configuration's hook point is.

    Raises
    ------
    ValueError
        None, or one that no vector can be added at.
    """
    name = config.get("hook_name") or config.get("hook_point")
    if not isinstance(name, str):
        raise ValueError(
            "the autoencoder's cfg has no hook_name, so that nothing says where it reads; expected "
            "one such as 'blocks.8.hook_resid_post'"
        )
    found = _hooked(name, config)
    if (
        found is None
        or config.get("hook_head_index", config.get("hook_point_head_index")) is not None
    ):
        raise ValueError(
            f"the autoencoder reads {name!r}, which is no place of directions; expected "
            f"{', '.join(_HOOKS)} of a block, or the path of a layer, its MLP or its attention"
        )
    layer, at = found
    if layer < 0:
        raise ValueError(
            f"the autoencoder reads {name!r}, the embeddings; expected the output of a layer"
        )
    model = str(config.get("model_name") or "").lower()
    if at != "residual" and name.startswith("blocks.") and any(one in model for one in _NORMED):
        raise ValueError(
            f"the autoencoder reads {name!r} of {model}, which is behind the norm that follows "
            f"{at!r}; expected one of the residual stream"
        )
    scaling = config.get("normalize_activations")
    if scaling not in _FOLDED:
        raise ValueError(
            f"the autoencoder rescales its input by {scaling!r}, so that a feature's activation "
            "has no one vector; expected normalize_activations 'none'"
        )
    return layer, at


def _hooked(name: str, config: Mapping[str, Any]) -> tuple[int, str] | None:
    known = re.fullmatch(r"(?:blocks\.(\d+)\.)?(hook_\w+)", name)
    if known is not None and known[2] in _HOOKS:
        at, below = _HOOKS[known[2]]
        layer = known[1] or config.get("hook_layer", config.get("hook_point_layer"))
        return None if layer is None else (int(layer) - below, at)
    for pattern, at in _MODULES:
        match = pattern.fullmatch(name)
        if match is not None:
            return int(match[1]), at
    return None
