"""Load models and tokenizers with transformers, whole or not at all."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from negkernel.extras import need
from negkernel.model.checkpoint import check_complete, check_counts, check_sizes, read_contents
from negkernel.model.task import ModelError, checkpoint_task

log = logging.getLogger(__name__)

# Options that say where files are, for config, weights and tokenizer alike.
_WHERE = ("revision", "token", "cache_dir", "trust_remote_code", "subfolder", "gguf_file")


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
        Nothing to load at ``path_or_id``, files that are damaged, incomplete or of no language
        model, a checkpoint for another task than the one asked for, or an unknown dtype or device.
    """
    _check_dtype(dtype)
    if device is not None:
        check_device(device)
    options = {k: v for k, v in options.items() if (k, v) != ("gguf_file", None)}
    if "gguf_file" in options:
        need("gguf", "gguf", "a GGUF file")
    where = {k: options[k] for k in _WHERE if k in options}
    with _readable("model", path_or_id):
        source, adapter = _base_and_adapter(path_or_id, where)
        model = _model(source, dtype, task, options, where)
        if adapter is not None:
            check_complete(model, model.load_adapter(adapter).to_dict(), model.config)
    with _readable("tokenizer", path_or_id):
        tokenizer = _tokenizer(path_or_id, source, where)
    return (model if device is None else model.to(device)).eval(), tokenizer


def _model(
    source: str, dtype: str | torch.dtype, task: str | None, options: dict[str, Any], where: Any
) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM

    folder = Path(source, options.get("subfolder", ""))
    plain = folder.is_dir() and "gguf_file" not in options
    contents = read_contents(folder) if plain else None
    if contents is not None:
        check_counts(folder, contents)
    config = AutoConfig.from_pretrained(source, **where)
    masked = checkpoint_task(config, task) == "masked"
    auto = AutoModelForMaskedLM if masked else AutoModelForCausalLM
    if contents is not None:
        remote = {k: where[k] for k in ("trust_remote_code",) if k in where}
        check_sizes(config, auto, contents, **remote)
    model, info = auto.from_pretrained(
        source,
        dtype=dtype,
        **{**options, "output_loading_info": True, "ignore_mismatched_sizes": True},
    )
    check_complete(model, info, config)
    if "gguf_file" in options:
        _forget_quantization(model)
    return model


def _base_and_adapter(path_or_id: str, where: dict[str, Any]) -> tuple[str, str | None]:
    """Return what holds the model, and the adapter that it carries, if ``path_or_id`` is one."""
    path = Path(path_or_id)
    config = path / where.get("subfolder", "") / "config.json"
    if not path.exists() or config.is_file() or "gguf_file" in where:
        return path_or_id, None
    adapter = path / "adapter_config.json"
    if not adapter.is_file():
        raise ModelError(
            "it is not a model folder: it has no config.json; expected a folder written by "
            "save_pretrained, or a Hub id"
        )
    need("peft", "adapters", "an adapter")
    base = json.loads(adapter.read_text()).get("base_model_name_or_path")
    if not base:
        raise ModelError(
            "its adapter_config.json has no base_model_name_or_path; expected the folder or Hub id "
            "of the model that it adapts"
        )
    return str(base), str(path_or_id)


def _tokenizer(path_or_id: str, source: str, where: dict[str, Any]) -> Any:
    """The model's tokenizer; an adapter's own where it brings one, and none where neither does."""
    from transformers import AutoTokenizer

    if source != path_or_id:
        holders = [f for f in (path_or_id, source) if not Path(f).is_dir() or _brings_tokenizer(f)]
        if not holders:
            log.warning("%s comes without a tokenizer: prompts must be token ids", path_or_id)
            return None
        source = holders[0]
    return AutoTokenizer.from_pretrained(source, **where)


def _brings_tokenizer(folder: str) -> bool:
    names = ("tokenizer*", "vocab*", "*.model")
    return any(True for name in names for _ in Path(folder).glob(name))


def _forget_quantization(model: Any) -> None:
    """Make a dequantized model what it is: dense, and fit to be saved."""
    for owner, name in ((model.config, "quantization_config"), (model, "hf_quantizer")):
        if hasattr(owner, name):
            delattr(owner, name)
    model.is_quantized = False


def _check_dtype(dtype: Any) -> None:
    named = isinstance(dtype, str) and isinstance(getattr(torch, dtype, None), torch.dtype)
    if not (isinstance(dtype, torch.dtype) or dtype == "auto" or named):
        raise ValueError(f"dtype {dtype!r} is unknown; expected 'auto' or one such as 'bfloat16'")


def check_device(device: str | torch.device) -> torch.device:
    """Return a device that can hold tensors here, before anything is read.

    Raises
    ------
    ValueError
        One that torch does not know, does not find, or that holds no numbers ("meta").
    """
    try:
        torch.empty(1, device=device)
        found = torch.device(device)
        if found.type == "meta":
            raise ValueError("it holds no numbers")
    except Exception as error:  # asserts, missing modules, ...: whatever the backend raises
        raise ValueError(
            f"device {str(device)!r} cannot be used: {_first_line(error)}; expected one that torch "
            "finds here, such as 'cpu' or 'cuda'"
        ) from error
    return found


@contextmanager
def _readable(what: str, path_or_id: str) -> Iterator[None]:
    """Turn what transformers raises for missing and damaged files into one ValueError.

    Whatever is wrong with a file comes out of it as an exception of any kind.
    """
    try:
        yield
    except ModuleNotFoundError:
        raise  # tells what to install
    except ModelError as error:
        raise ValueError(f"cannot load a {what} from {str(path_or_id)!r}: {error}") from error
    except OSError as error:
        raise ValueError(
            f"cannot load a {what} from {str(path_or_id)!r}: {_first_line(error)}; expected a "
            "folder written by save_pretrained, or a Hub id that can be reached"
        ) from error
    except Exception as error:
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        raise ValueError(
            f"cannot load a {what} from {str(path_or_id)!r}: {kind}{_first_line(error)}; check "
            "that its files are there and complete"
        ) from error


def _first_line(error: Exception) -> str:
    """What is wrong, on one line: a heading that ends in a colon goes on on the next."""
    first, _, rest = str(error).strip().partition("\n")
    if first.endswith(":"):
        first += " " + rest.strip().split("\n", 1)[0]
    return first.rstrip(".") or type(error).__name__
