"""The gate to Triton, which only Linux has: may the kernels take a call, and where do they run.

Kernels compile for the GPU that holds the tensors. With ``TRITON_INTERPRET=1`` in the environment
before Triton is imported and ``NEGKERNEL_BACKEND=triton`` they run in Triton's interpreter instead,
on CPU tensors: slowly, for tests. Nothing here imports Triton before a kernel is about to run.
"""

import contextlib
import importlib.util
import os
from collections.abc import Sequence

import torch

WHEN_INTERPRETED = "TRITON_INTERPRET=1 and NEGKERNEL_BACKEND=triton"
# What an interpreted kernel takes for the number of a GPU's multiprocessors.
INTERPRETED_PROCESSORS = 3


def interpreted() -> bool:
    """Whether the environment asks for Triton's interpreter."""
    asked = os.environ.get("TRITON_INTERPRET"), os.environ.get("NEGKERNEL_BACKEND")
    return asked == ("1", "triton")


def available() -> str | None:
    """Return None if Triton kernels can run here at all, else why not."""
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed"
    if not interpreted() and not torch.cuda.is_available():
        return f"no GPU here, and {WHEN_INTERPRETED} are not set"
    return None


def why_not(tensors: Sequence[torch.Tensor | None]) -> str | None:
    """Return None if a kernel can take these tensors, else the reason.

    Parameters
    ----------
    tensors : sequence of torch.Tensor or None
        Every tensor of the state dtype that the kernel would read or write, and every index.
    """
    for tensor in tensors:
        if tensor is None:
            continue
        if not tensor.is_cuda and not (tensor.device.type == "cpu" and interpreted()):
            return (
                f"a tensor is on {tensor.device}, the Triton kernels are for CUDA, or with "
                f"{WHEN_INTERPRETED} for the CPU"
            )
        if tensor.is_floating_point() and tensor.dtype != torch.float32:
            return f"a tensor is {tensor.dtype}, the Triton kernels are for float32"
        if tensor.requires_grad and torch.is_grad_enabled():
            return "a tensor requires grad, the Triton kernels record no graph"
    return None if importlib.util.find_spec("triton") else "Triton is not installed"


def on(tensor: torch.Tensor) -> contextlib.AbstractContextManager[object]:
    """Make the tensor's GPU the current one: Triton launches there, on its current stream."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else contextlib.nullcontext()


def processors(tensor: torch.Tensor) -> int:
    """Return how many programs run side by side where the tensor is."""
    if not tensor.is_cuda:
        return INTERPRETED_PROCESSORS
    return torch.cuda.get_device_properties(tensor.device).multi_processor_count


def power_of_two(n: int) -> int:
    """Return the least power of two that is at least `n` >= 1: the length of a block."""
    return 1 << (n - 1).bit_length()
