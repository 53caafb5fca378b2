"""One model stored in several precisions, each with the same weights in float64."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from negkernel.families.weights import dense_weight

DTYPES = {
    "float64": torch.float64,
    "float32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}


@dataclass(frozen=True)
class Stored:
    """A model as one precision keeps it.

    Attributes
    ----------
    name : str
        One of ``DTYPES``, or "4-bit": bitsandbytes' NF4 with bf16 around it.
    model : transformers.PreTrainedModel
        What ordinary forwards run.
    operand : torch.dtype or None
        What the delta forward's products read; None is the engine's default.
    exact : transformers.PreTrainedModel
        The same weights in float64, 4-bit ones dequantized.
    """

    name: str
    model: Any
    operand: torch.dtype | None
    exact: Any


def stored(model: Any, prompt: list[int]) -> Iterator[Stored | tuple[str, str]]:
    """Store copies of ``model`` in every precision, one at a time.

    Parameters
    ----------
    prompt : list of int
        Tokens of a forward that lets bitsandbytes settle on its layout, which on some CPUs rounds
        the quantized weights once more.

    Yields
    ------
    Stored, or (name, reason) for a precision that does not run here
    """
    for name, dtype in DTYPES.items():
        own = copy.deepcopy(model).to(dtype)
        operand = dtype if dtype.itemsize == 2 else None
        exact = own if dtype == torch.float64 else copy.deepcopy(own).double()
        yield Stored(name, own, operand, exact)
    try:
        own, exact = _four_bit(copy.deepcopy(model).to(torch.bfloat16), prompt)
    except (ImportError, RuntimeError, AssertionError) as reason:
        yield "4-bit", f"does not run: {str(reason).splitlines()[0]}"
    else:
        yield Stored("4-bit", own, None, exact)


def same_weights(a: Any, b: Any) -> bool:
    """Whether two models of one architecture hold equal numbers."""
    pairs = zip(a.parameters(), b.parameters(), strict=True)
    return all(torch.equal(p.double(), q.double()) for p, q in pairs)


@torch.no_grad()
def _four_bit(model: Any, prompt: list[int]) -> tuple[Any, Any]:
    """Put the layers' projections into NF4, in place; and the same weights in float64."""
    import bitsandbytes as bnb

    exact = copy.deepcopy(model).double()
    layers = {
        name: module
        for name, module in model.named_modules()
        if ".layer" in name and isinstance(module, nn.Linear)
    }
    for name, module in layers.items():
        packed = bnb.nn.Linear4bit(
            module.in_features,
            module.out_features,
            bias=module.bias is not None,
            compute_dtype=model.dtype,
            quant_type="nf4",
        )
        packed.weight = bnb.nn.Params4bit(module.weight.data, requires_grad=False, quant_type="nf4")
        packed.bias = module.bias
        model.set_submodule(name, packed.to(model.device))
    model.eval()(input_ids=torch.tensor([prompt], device=model.device))
    for name in layers:
        weight = dense_weight(model.get_submodule(name))
        exact.get_submodule(name).weight.copy_(weight)
    return model, exact
