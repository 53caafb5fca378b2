"""The only importer of the compiled module `negkernel._C`, which an installation may lack.

The module holds the CPU kernels once per instruction set; `NEGKERNEL_ISA` (`portable`, `avx2`,
`avx512`, `avx512bf16`) takes another one than the best that the processor runs.
"""

import functools
import importlib
import logging
import os
from collections.abc import Sequence
from types import ModuleType
from typing import Any

# Before _C, so that both share the OpenMP runtime that torch loads and with it one set of threads.
import torch

log = logging.getLogger(__name__)


@functools.cache
def module() -> ModuleType | None:
    """Return `negkernel._C`, or None after one log line where it is missing."""
    try:
        return importlib.import_module("negkernel._C")
    except ImportError as error:
        log.warning(
            "no compiled CPU kernels (norm, mlp, attention, logprob): %s; PyTorch runs in their "
            "place. With a C++ compiler at hand, reinstall negkernel to build them",
            error,
        )
        return None


def isas() -> tuple[str, ...]:
    """Return the instruction sets that can run here, the best last; empty without the module."""
    compiled = module()
    return () if compiled is None else tuple(compiled.isas)


@functools.cache
def kernels() -> Any:
    """Return the kernels of the chosen instruction set, or None without the compiled module.

    Raises
    ------
    ValueError
        If `NEGKERNEL_ISA` names a set that cannot run here.
    """
    compiled = module()
    if compiled is None:
        return None
    isa = os.environ.get("NEGKERNEL_ISA") or isas()[-1]
    if isa not in isas():
        raise ValueError(f"NEGKERNEL_ISA is {isa!r}, expected one of {', '.join(isas())}")
    return getattr(compiled, isa)


def why_not(op: str, tensors: Sequence[torch.Tensor | None]) -> str | None:
    """Return None if the compiled kernel of `op` can take these tensors, else the reason.

    Parameters
    ----------
    op : str
        Name of the kernel.
    tensors : sequence of torch.Tensor or None
        Everything that the kernel would read or write.
    """
    if kernels() is None:
        return "the compiled module negkernel._C is missing"
    if not hasattr(kernels(), op):
        return "it has no C++ kernel"
    for tensor in tensors:
        if tensor is None:
            continue
        if tensor.device.type != "cpu":
            return f"a tensor is on {tensor.device}, the C++ kernels are for the CPU"
        if tensor.is_floating_point() and tensor.dtype != torch.float32:
            return f"a tensor is {tensor.dtype}, the C++ kernels are for float32"
        if not tensor.is_contiguous():
            return f"a tensor of shape {list(tensor.shape)} is not contiguous"
        if tensor.requires_grad and torch.is_grad_enabled():
            return "a tensor requires grad, the C++ kernels record no graph"
    return None


def address(tensor: torch.Tensor | None) -> int:
    """Return the address of a tensor's data, 0 for None."""
    return 0 if tensor is None else tensor.data_ptr()
