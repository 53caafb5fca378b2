"""Hold a checkpoint's config against its files before memory is asked for, and its weights after.

transformers fills what a checkpoint lacks with random numbers and drops what its class has no place
for; either way the model is another one than was saved.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import nn

from negkernel.model.task import ModelError, class_without_head

# Counts that a config's constructor, or the model's, loops over.
_COUNT = re.compile(r"^(num_labels|n_layers?|\w*num_\w*layers|(en|de)coder_layers)$")
_HARMLESS = 1000  # so many layers are built in seconds
# Heads that no log-prob of a token goes through, and masks or angles that older versions saved.
_UNREAD = re.compile(r"(^|\.)(pooler|seq_relationship)\.")
_COMPUTED = re.compile(
    r"(inv_freq|cos_cached|sin_cached|masked_bias|causal_mask|position_ids|embed_positions|"
    r"\.attn\.bias|\.attention\.bias)$"
)
_OTHER_HEAD = re.compile(r"(score|classifier|qa_outputs|discriminator_predictions)\.")
_LAYER = re.compile(r"^(.*?\.\d+)\.")


@dataclass(frozen=True)
class Contents:
    """What weight files hold: tensors, and numbers in them (an upper bound in old formats)."""

    tensors: int
    elements: int


def read_contents(folder: Path) -> Contents | None:
    """Count what the weight files of a folder hold, from their headers; None without any.

    Raises
    ------
    safetensors.SafetensorError, zipfile.BadZipFile
        A damaged file.
    """
    tensors = elements = 0
    files = sorted(folder.glob("*.safetensors"))
    for file in files:
        with safe_open(file, framework="pt") as opened:
            shapes = [opened.get_slice(name).get_shape() for name in opened.keys()]  # noqa: SIM118
        tensors += len(shapes)
        elements += sum(torch.Size(shape).numel() for shape in shapes)
    if files:
        return Contents(tensors, elements)
    files = sorted(folder.glob("*.bin"))
    for file in files:
        elements += file.stat().st_size
        tensors += len(zipfile.ZipFile(file).namelist()) if zipfile.is_zipfile(file) else 10_000
    return Contents(tensors, elements) if files else None


def check_counts(folder: Path, contents: Contents) -> None:
    """Refuse a config.json with more layers or labels than the files have tensors.

    Before transformers reads it, since the constructor of a config makes a list of so many.

    Raises
    ------
    ValueError
        Names the field.
    """
    most = max(contents.tensors, _HARMLESS)
    try:
        config = json.loads((folder / "config.json").read_text())
    except ValueError:
        return  # transformers says what is wrong with it
    for name, value in _fields(config):
        if _COUNT.match(name) and isinstance(value, int) and value > most:
            raise ModelError(
                f"config.json says {name}={value} but the weight files hold {contents.tensors} "
                "tensors; expected the config that the weights were saved with"
            )


def _fields(config: Any) -> Iterator[tuple[str, Any]]:
    for name, value in config.items() if isinstance(config, dict) else ():
        yield name, value
        yield from _fields(value)


def check_sizes(config: Any, auto: Any, contents: Contents, **options: Any) -> None:
    """Refuse a config whose model would be far larger than what the files hold.

    The model is built without memory (on the device "meta"), and no further than the files go.

    Raises
    ------
    ValueError
        Tells both sizes.
    """
    with torch.device("meta"), _at_most(2000 + 16 * contents.tensors):
        hollow = auto.from_config(config, **options)
    parameters = sum(p.numel() for p in hollow.parameters())
    packed = 16 if getattr(config, "quantization_config", None) else 2
    if parameters > packed * contents.elements + 10**6:
        raise ModelError(
            f"its config describes {parameters:.3g} parameters but the weight files hold "
            f"{contents.elements:.3g}; expected the config that the weights were saved with"
        )


@contextmanager
def _at_most(modules: int) -> Iterator[None]:
    """Stop building a model that has more modules than so."""
    built = 0

    def count(*_: Any) -> None:
        nonlocal built
        built += 1
        if built > modules:
            raise ModelError(
                f"its config describes more than {modules} modules, far more than the weight files "
                "fill; expected the config that the weights were saved with"
            )

    handle = nn.modules.module.register_module_module_registration_hook(count)
    try:
        yield
    finally:
        handle.remove()


def check_complete(model: Any, info: dict[str, Any], config: Any) -> None:
    """Refuse a model with weights that no file filled, or files with weights it has no place for.

    A classifier, a bare encoder or a discriminator is one of these, but where its head would be
    that of its embeddings: what its config calls it tells then.

    Parameters
    ----------
    config : PreTrainedConfig
        As it was read.
    info : dict
        What transformers returns for ``output_loading_info=True``.

    Raises
    ------
    ValueError
        Names the tensors.
    """
    name = type(model).__name__
    if sizes := sorted(info["mismatched_keys"]):
        shown = [f"{key} is {list(found)}, not {list(own)}" for key, found, own in sizes]
        raise ModelError(
            f"tensors of the files do not have the sizes of its config: {_listed(shown)}; expected "
            "the config that the weights were saved with"
        )
    wrong = []
    if other := class_without_head(config):
        wrong.append(f"its config says that it is a {other}, which has no LM head")
    if absent := _needed(info["missing_keys"]):
        wrong.append(
            f"its files lack {len(absent)} tensors of {name}, which transformers would make up at "
            f"random: {_listed(absent)}"
        )
    if wrong:
        raise ModelError(
            f"{' and '.join(wrong)}; expected a whole checkpoint of a ...ForCausalLM or "
            "...ForMaskedLM"
        )
    unread = _needed(info["unexpected_keys"])
    extra = [key for key in unread if _OTHER_HEAD.match(key) or _in_layer(model, key)]
    if extra:
        raise ModelError(
            f"its files hold {len(extra)} tensors that {name} would ignore: {_listed(extra)}; "
            "expected a config of the architecture that was saved"
        )


def _needed(keys: set[str]) -> list[str]:
    return sorted(k for k in keys if not _UNREAD.search(k) and not _COMPUTED.search(k))


def _in_layer(model: nn.Module, key: str) -> bool:
    """Whether ``key`` lies in one of the model's layers, or behind the last of them."""
    layer = _LAYER.match(key)
    if layer is None:
        return False
    try:
        return isinstance(model.get_submodule(layer[1].rsplit(".", 1)[0]), nn.ModuleList)
    except AttributeError:
        return False


def _listed(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
