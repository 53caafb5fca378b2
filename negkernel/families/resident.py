"""Bring a layer's weights in for as long as a pass computes with them.

Weights may lie elsewhere: in host memory or files, where accelerate's hooks fetch them from, or in
pieces on several processes. All rows share every weight, so a pass asks for each layer once,
whatever the number of its rows.
"""

from __future__ import annotations

import ctypes
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

_SHORT = (MemoryError, torch.OutOfMemoryError)


class Loader(ABC):
    """Brings the weights of some modules in on entering, and takes them out on leaving.

    Attributes
    ----------
    name : str
        Path of the module that it sits on.
    modules : list of nn.Module
        Those whose own tensors it brings.
    source : nn.Module or None
        One that it reads itself, whose weights have to be in before.
    """

    source: Any = None

    def __init__(self, name: str, modules: Sequence[nn.Module]):
        self.name, self.modules = name, list(modules)
        self._depth = 0

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Where the weights are when they are in."""

    @abstractmethod
    def bring(self) -> None:
        """Bring the weights in; on an error nothing of them stays."""

    @abstractmethod
    def release(self) -> None:
        """Leave the modules as they were."""

    @property
    def size(self) -> int:
        """Bytes that come in."""
        return sum(t.nbytes for module in self.modules for t in _own_tensors(module))

    @property
    def files(self) -> set[Path]:
        """Folders and files that the weights are read from."""
        return set()

    def __enter__(self) -> None:
        if not self._depth:
            self.bring()
        self._depth += 1

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if not self._depth:
            self.release()


class Offloaded(Loader):
    """Weights that a hook of accelerate fetches before its module's forward.

    While they are in, the hook fetches nothing: the module may run as well.
    """

    def __init__(self, name: str, module: nn.Module, hook: Any):
        super().__init__(name, list(module.modules()) if hook.place_submodules else [module])
        self._module, self._hook = module, hook

    @property
    def device(self) -> torch.device:
        """See :class:`Loader`."""
        running = self._hook.execution_device
        return torch.device("cpu" if running is None else running)

    @property
    def files(self) -> set[Path]:
        """See :class:`Loader`."""
        source: Any = self._hook.weights_map
        while hasattr(source, "dataset"):  # accelerate puts prefixes before names
            source = source.dataset
        index = getattr(source, "index", None) or {}
        files = {one.get("safetensors_file") or source.save_folder for one in index.values()}
        return {Path(file) for file in files}

    def bring(self) -> None:
        """See :class:`Loader`."""
        try:
            self._hook.pre_forward(self._module)
        except BaseException:
            self._hook.post_forward(self._module, None)
            raise
        self._hook.offload = False

    def release(self) -> None:
        """See :class:`Loader`."""
        self._hook.offload = True
        self._hook.post_forward(self._module, None)


@contextmanager
def resident(loaders: Sequence[Loader]) -> Iterator[None]:
    """Have the weights of a layer, or of what lies before or behind the layers, at hand.

    Raises
    ------
    MemoryError
        They do not fit; the message says which.
    """
    if not loaders:
        yield
        return
    with ExitStack() as stack:
        for loader in loaders:
            try:
                stack.enter_context(loader)
            except _SHORT as error:
                raise too_large(loaders, str(error)) from error
        yield
    if loaders[0].device.type == "cpu":
        _hand_back()


def _hand_back() -> None:
    """Hand freed memory back to the system.

    glibc keeps what a layer took, and puts little of the next layer into the aligned holes: the
    process would grow with every layer.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def too_large(loaders: Sequence[Loader], why: str) -> MemoryError:
    """Return the error for weights that have to be in together and do not fit."""
    where = f"{loaders[0].name} ... {loaders[-1].name}" if len(loaders) > 1 else loaders[0].name
    need = sum(loader.size for loader in loaders) / 2**20
    return MemoryError(
        f"the weights of {where} take {need:,.0f} MiB on {loaders[0].device} at once, which do not "
        f"fit beside what is there ({why}). A smaller memory_budget, half precision, a quantized "
        "model, or another device_map would help"
    )


def loaders_of(model: nn.Module) -> dict[nn.Module, Loader]:
    """Return what brings in the weights of each module that does not hold its own."""
    found: dict[nn.Module, Loader] = {}
    for name, module in model.named_modules():
        for loader in _on(name, module):
            found.update(dict.fromkeys(loader.modules, loader))
    return found


def _on(name: str, module: nn.Module) -> Iterator[Loader]:
    """Loaders that sit on ``module`` itself."""
    hook = vars(module).get("_hf_hook")
    for one in getattr(hook, "hooks", (hook,)):
        if getattr(one, "offload", False) and hasattr(one, "weights_map"):
            loader = Offloaded(name, module, one)
            if any(t.is_meta for own in loader.modules for t in _own_tensors(own)):
                yield loader


def modules_of(part: Any) -> Iterator[nn.Module | Loader]:
    """Every module that a part of a description reads, children included.

    A loader in the place of a module follows those that it reads itself.
    """
    if isinstance(part, Loader):
        yield from modules_of(part.source)
        yield part
    elif isinstance(part, nn.Module):
        yield from part.modules()
    elif isinstance(part, tuple):
        for one in part:
            yield from modules_of(one)
    elif is_dataclass(part):
        for field in fields(part):
            yield from modules_of(getattr(part, field.name))
    elif isinstance(module := getattr(part, "module", None), nn.Module):  # a rotary's
        yield from module.modules()


def bringing(loaders: dict[nn.Module, Loader], *parts: Any) -> tuple[Loader, ...]:
    """Loaders of everything that ``parts`` read, each once."""
    found = [
        one if isinstance(one, Loader) else loaders.get(one)
        for part in parts
        for one in modules_of(part)
    ]
    return tuple(dict.fromkeys(one for one in found if one is not None))


def device_of(module: Any) -> torch.device:
    """Where a module computes, also while its weights are elsewhere; the CPU without any."""
    for one in module.modules():
        for tensor in _own_tensors(one):
            if not tensor.is_meta:
                return tensor.device
        for loader in _on("", one):
            return loader.device
    return torch.device("cpu")


def _own_tensors(module: nn.Module) -> list[Tensor]:
    own = (*module._parameters.values(), *module._buffers.values())
    return [tensor for tensor in own if tensor is not None]
