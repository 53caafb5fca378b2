"""Checks that every op makes on its arguments before a backend sees them.

A **row** is one intervention's difference d = h(shifted) - h(base) at one token. Tensors whose name
starts with `d` lead with the rows R, base tensors with the prompts P, and `row_prompt` [R] gives
each row's prompt; rows are sorted by prompt. Floating tensors of one call share a dtype, float32 or
float64, and a device.
"""

import torch

FLOATS = (torch.float32, torch.float64)


def check_floats(op: str, **tensors: torch.Tensor | None) -> None:
    """Raise TypeError unless all given tensors share one dtype, float32 or float64, and a device.

    Parameters
    ----------
    op : str
        Name of the op, for the message.
    **tensors : torch.Tensor or None
        Arguments by name; absent ones (None) are passed over.
    """
    first = ""
    for name, tensor in tensors.items():
        if tensor is None:
            continue
        if tensor.dtype not in FLOATS:
            raise TypeError(
                f"{op}: {name} is {tensor.dtype}, expected float32 or float64; cast it first"
            )
        first = first or name
        lead = tensors[first]
        assert lead is not None
        if tensor.dtype != lead.dtype or tensor.device != lead.device:
            raise TypeError(
                f"{op}: {name} is {tensor.dtype} on {tensor.device}, but {first} is "
                f"{lead.dtype} on {lead.device}; give them the same dtype and device"
            )


def check_shape(op: str, name: str, tensor: torch.Tensor, *shape: int) -> None:
    """Raise ValueError unless `tensor` has `shape`.

    Parameters
    ----------
    op, name : str
        Name of the op and of the argument, for the message.
    tensor : torch.Tensor
        The argument.
    *shape : int
        Expected shape.
    """
    if tuple(tensor.shape) != shape:
        raise ValueError(f"{op}: {name} has shape {list(tensor.shape)}, expected {list(shape)}")


def check_index(op: str, name: str, tensor: torch.Tensor, *shape: int) -> None:
    """Raise unless `tensor` is an int64 index tensor of `shape`.

    Parameters
    ----------
    op, name : str
        Name of the op and of the argument, for the message.
    tensor : torch.Tensor
        The argument.
    *shape : int
        Expected shape.
    """
    if tensor.dtype != torch.int64:
        raise TypeError(f"{op}: {name} is {tensor.dtype}, expected int64")
    check_shape(op, name, tensor, *shape)
