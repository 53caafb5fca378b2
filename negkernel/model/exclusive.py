"""What surrounds the calls of an engine: one at a time for a model, in torch's plain modes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from threading import Lock, RLock
from typing import Any, Concatenate, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import nn

from negkernel.families.resident import device_of

P = ParamSpec("P")
R = TypeVar("R")

# One lock a model and not one an engine: two engines may share a model, and hooks are the model's.
_locks: WeakKeyDictionary[nn.Module, Any] = WeakKeyDictionary()
_making = Lock()


def _forget_locks() -> None:
    """Begin a forked child with free locks: whoever held one is not there to release it.

    The locks of the forking thread's own calls are forgotten too; their release finds its own.
    """
    global _locks, _making
    _locks, _making = WeakKeyDictionary(), Lock()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forget_locks)


@contextmanager
def guard(model: nn.Module) -> Iterator[None]:
    """Compute with ``model`` alone, as if the caller had set none of torch's modes.

    Hooks of one thread's shifts would act on another thread's forward. Autocast would round what
    is float32 on purpose, tensors of inference mode have no gradients, and index tensors belong
    on the CPU whatever the default device is.
    """
    with _making:
        lock = _locks.setdefault(model, RLock())
    with ExitStack() as modes, lock:
        if torch.is_inference_mode_enabled():
            modes.enter_context(torch.inference_mode(False))
        for kind in {"cpu", device_of(model).type}:
            if torch.is_autocast_enabled(kind):
                modes.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device().type != "cpu":
            modes.enter_context(torch.device("cpu"))
        yield


def guarded(method: Callable[Concatenate[Any, P], R]) -> Callable[Concatenate[Any, P], R]:
    """Run a method of an engine under :func:`guard`."""

    @wraps(method)
    def run(engine: Any, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with guard(engine._host.given):
            return method(engine, *args, **kwargs)

    return run


def guarded_steps(model: nn.Module, steps: Iterator[R]) -> Iterator[R]:
    """Take each of ``steps`` under :func:`guard`, which is off while the caller looks at it."""
    while True:
        with guard(model):
            try:
                step = next(steps)
            except StopIteration:
                return
        yield step
