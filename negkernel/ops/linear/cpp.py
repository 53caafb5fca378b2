"""Rows times a matrix on bfloat16 operands, on a CPU with the instruction for it: csrc/linear.

Twice the rate of float32 products. The rows are rounded to nearest, ties to even, and so is a
matrix that the model does not store in bfloat16 already; nothing is kept from call to call. Sums
are float32. Numbers below float32's normal range (1.2e-38), read or computed, count as zero.
"""

import torch

from negkernel.ops import _ext


def available() -> str | None:
    """Return None if the kernel can run here, else why not."""
    kernels = _ext.kernels()
    if kernels is not None and not hasattr(kernels, "linear"):
        return "there is no avx512_bf16: not in the processor, the compiler or NEGKERNEL_ISA"
    return _ext.why_not("linear", ())


def supports(
    x: torch.Tensor, weight: torch.Tensor, *, operand: torch.dtype | None = None
) -> str | None:
    """Return None if the C++ kernel runs this call, else why not."""
    if operand != torch.bfloat16:
        return f"operands are {operand or x.dtype}, this kernel multiplies bfloat16"
    if why_not := available():
        return why_not
    if x.device.type != "cpu":
        return f"x is on {x.device}, the C++ kernels are for the CPU"
    if x.dtype != torch.float32:
        return f"x is {x.dtype}, this kernel sums in float32"
    if torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad):
        return "a factor requires grad, the C++ kernels record no graph"
    if not x.numel() or not weight.numel():
        return "a factor is empty"
    return None


def linear(
    x: torch.Tensor, weight: torch.Tensor, *, operand: torch.dtype | None = None
) -> torch.Tensor:
    """Return `x @ weight.T`; see `negkernel.ops.linear.linear`."""
    rows = x.reshape(-1, x.shape[-1])
    if rows.stride(1) != 1:
        rows = rows.contiguous()
    if weight.dtype not in (torch.float32, torch.bfloat16):
        weight = weight.to(torch.bfloat16)
    if 1 not in weight.stride():
        weight = weight.contiguous()
    transposed = weight.stride(1) != 1
    (M, K), N = rows.shape, len(weight)
    out = x.new_empty(*x.shape[:-1], N)
    _ext.kernels().linear(
        _ext.address(rows),
        _ext.address(weight),
        _ext.address(out),
        M=M,
        K=K,
        N=N,
        x_stride=rows.stride(0),
        weight_stride=weight.stride(1 if transposed else 0),
        transposed=transposed,
        half=weight.dtype == torch.bfloat16,
        num_threads=torch.get_num_threads(),
    )
    return out
