"""Tell one model from another by a digest of every byte that its forwards depend on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

CHUNK = 1 << 26  # bytes that are on the host at a time
WORDS = 1024  # of eight bytes in a row of the sums

# Said by the tensors, or by where the model came from.
_NOT_COMPUTED_WITH = ("architectures", "dtype", "torch_dtype", "transformers_version")
# Such rotary modules keep frequencies of the longest prompt they have seen, and choose them anew.
_FORGETFUL = ("dynamic", "longrope")

_known: WeakKeyDictionary[nn.Module, tuple[bytes, str]] = WeakKeyDictionary()


def model_digest(model: nn.Module) -> str:
    """SHA-256 of a model: its config, its modules' classes, and all parameters and buffers.

    Each tensor counts with name, dtype and shape, wherever it lies; those of quantized modules as
    they would be saved, offloaded ones as accelerate loads them. The second time a few sums of a
    tensor's bits say whether it is still the same, at a fraction of the price: versions of
    parameters would miss what is written through ``.data``.

    Raises
    ------
    ValueError
        A tensor has no values: it is on the meta device, and nothing loads it.
    NotImplementedError
        A module keeps something that is no tensor and cannot be told by its text.
    """
    sums = _walk(model, _sums)
    if model not in _known or _known[model][0] != sums:
        _known[model] = sums, _walk(model, _sha256).hex()
    return _known[model][1]


def _walk(model: nn.Module, leaf: Callable[[Tensor], bytes]) -> bytes:
    """Digest of all names, and of what `leaf` makes of each tensor; a tied one is read once."""
    done: dict[Any, Future[bytes]] = {}
    kept: list[Tensor] = []  # so that no other tensor comes to lie in the same place
    lines: list[tuple[str, Future[bytes] | None]] = [(_config(model), None)]
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        for name, module in model.named_modules():
            lines.append((f"{name} {type(module).__qualname__}", None))
            with _loaded(module) as offloaded:
                for label, tensor in [part for item in _state(module) for part in _plain(*item)]:
                    _check_filled(f"{name}.{label}", tensor)
                    place = tensor.data_ptr(), tensor.stride(), tensor.shape, tensor.dtype
                    found = done.get(place)
                    if offloaded:
                        found = pool.submit(leaf, tensor)
                        found.result()
                    elif found is None:
                        found = done[place] = pool.submit(leaf, tensor)
                        kept.append(tensor)
                    lines.append((f"{label} {tensor.dtype} {list(tensor.shape)}", found))
    total = hashlib.sha256()
    for text, found in lines:
        total.update(text.encode() + b"\n" + (b"" if found is None else found.result()))
    return total.digest()


def _check_filled(name: str, tensor: Tensor) -> None:
    if tensor.device.type == "meta":
        raise ValueError(
            f"{name} has no values: it is on the meta device and nothing loads it; expected a "
            "model with its weights"
        )


def _config(model: Any) -> str:
    config = getattr(model, "config", None)
    if config is None:
        return ""
    said = {k: v for k, v in config.to_dict().items() if k not in _NOT_COMPUTED_WITH}
    said = {k: v for k, v in said.items() if not k.startswith("_")}
    attention = getattr(config, "_attn_implementation", None)
    return json.dumps([said, attention], sort_keys=True, default=str)


@contextmanager
def _loaded(module: nn.Module) -> Iterator[bool]:
    """Hold a module's own tensors where they can be read; says whether they go again on leaving."""
    if not hasattr(module, "_hf_hook"):  # what accelerate offloads carries its hook
        yield False
        return
    from accelerate.utils import align_module_device, has_offloaded_params

    offloaded = has_offloaded_params(module)
    with align_module_device(module, torch.device("cpu")) if offloaded else nullcontext():
        yield offloaded


def _state(module: nn.Module) -> Iterator[tuple[str, Any]]:
    """Give what a module itself would save, and the buffers that it would not."""
    saved: dict[str, Any] = {}
    # Not `state_dict`, which includes children. Quantized modules add their scales here, and undo
    # what their forwards did to the layout of the weight.
    module._save_to_state_dict(saved, "", keep_vars=False)
    yield from saved.items()
    if getattr(module, "rope_type", None) not in _FORGETFUL:
        for name in sorted(module._non_persistent_buffers_set):
            yield name, module._buffers[name]


def _plain(label: str, value: Any) -> Iterator[tuple[str, Tensor]]:
    """Take a saved value apart into ordinary tensors."""
    if isinstance(value, Tensor):
        if hasattr(value, "__tensor_flatten__") and type(value) is not nn.Parameter:
            for name in value.__tensor_flatten__()[0]:
                yield from _plain(f"{label}.{name} {type(value).__name__}", getattr(value, name))
        else:
            value = value.detach()
            yield label, value.dequantize() if value.is_quantized else value
    elif isinstance(value, dict | list | tuple):
        for name, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _plain(f"{label}.{name}", item)
    elif value is None or isinstance(value, str | int | float | torch.dtype):
        yield f"{label} = {value}", torch.empty(0)
    else:
        raise NotImplementedError(
            f"{label} is a {type(value).__name__}: there is no telling whether two models have the "
            "same; expected tensors, so leave out the folder"
        )


def _bytes(tensor: Tensor) -> Tensor:
    return tensor.contiguous().reshape(-1).view(torch.uint8)


def _sha256(tensor: Tensor) -> bytes:
    digest = hashlib.sha256()
    for chunk in _bytes(tensor).split(CHUNK):
        digest.update(chunk.cpu().numpy().data)
    return digest.digest()


def _sums(tensor: Tensor) -> bytes:
    """Sums of the bits along rows and columns: no single edit or exchange leaves them all."""
    flat = _bytes(tensor)
    whole = len(flat) // (8 * WORDS) * (8 * WORDS)
    table = flat[:whole]
    if table.storage_offset() % 8:
        table = table.clone()
    table = table.view(torch.int64).view(-1, WORDS)
    digest = hashlib.sha256(flat[whole:].cpu().numpy().data)
    for axis in (0, 1):
        digest.update(table.sum(axis).cpu().numpy().data)
    return digest.digest()
