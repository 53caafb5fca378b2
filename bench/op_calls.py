"""Calls of the five ops at the shapes of real models, with the work that each cannot avoid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from negkernel import ops


@dataclass(frozen=True)
class Widths:
    """What one layer and the head of a model look like to the ops."""

    name: str
    hidden: int
    inner: int
    heads: int
    kv_heads: int
    vocabulary: int
    kind: str = "rms"
    activation: str = "silu"
    gated: bool = True
    softcap: float | None = None

    @property
    def head_dim(self) -> int:
        """D."""
        return self.hidden // self.heads


BASE = Widths("768 wide", 768, 2048, 12, 12, 32_000)
LLAMA_2_7B = Widths("Llama-2-7B", 4096, 11_008, 32, 32, 32_000)
LLAMA_3_1_8B = Widths("Llama-3.1-8B", 4096, 14_336, 32, 8, 128_256)
BERT_BASE = Widths("BERT-base", 768, 3072, 12, 12, 30_522, "layer", "gelu", gated=False)
SMALL = Widths("tiny", 48, 80, 4, 2, 300)


@dataclass(frozen=True)
class Call:
    """One call of an op.

    Attributes
    ----------
    op : str
    arguments : tuple
    options : dict
    size : float
        Bytes that must move at least once: every argument read, every result written.
    flops : float
        Floating-point operations of its matrix products.
    """

    op: str
    arguments: tuple[Any, ...]
    options: dict[str, Any] = field(default_factory=dict)
    size: float = 0.0
    flops: float = 0.0

    def run(self, impl: str = "auto") -> Tensor:
        """Call the op; a norm with a branch adds it to its rows each time."""
        result: Tensor = getattr(ops, self.op)(*self.arguments, **self.options, impl=impl)
        return result

    def some_rows(self, n: int | None = None) -> Tensor:
        """Indices of ``n`` rows, first and last among them, or of all."""
        at = "row_column" if self.op == "shift" else "row_prompt"
        row = self.arguments[NAMES[self.op].index(at)]
        n = len(row) if n is None else n
        return torch.linspace(0, len(row) - 1, n, device=row.device).round().long().unique()

    def copied(self, *, strided: bool = False) -> Call:
        """Return the call on copies; float tensors leave gaps between elements if ``strided``.

        What a call updates in place stays without gaps.
        """
        in_place = {"d"} if "branch" in self.options else set()

        def copy(name: str, x: Any) -> Any:
            if not isinstance(x, Tensor):
                return x
            if not strided or name in in_place or not x.is_floating_point():
                return x.clone()
            spread = x.new_full((*x.shape, 2), torch.nan)
            spread[..., 0] = x
            return spread[..., 0]

        arguments = map(copy, NAMES[self.op], self.arguments)
        options = {name: copy(name, x) for name, x in self.options.items()}
        return replace(self, arguments=tuple(arguments), options=options)

    def of_rows(self, index: Tensor, dtype: torch.dtype) -> Tensor:
        """The reference's result for some rows, in ``dtype``, on copies."""

        def changed(name: str, x: Any) -> Any:
            if not isinstance(x, Tensor):
                return x
            x = x[index] if name in ROWS[self.op] else x
            return x.to(dtype, copy=True) if x.is_floating_point() else x

        arguments = [changed(*pair) for pair in zip(NAMES[self.op], self.arguments, strict=True)]
        options = {name: changed(name, x) for name, x in self.options.items()}
        result: Tensor = getattr(ops, self.op)(*arguments, **options, impl="reference")
        return result


NAMES = {
    "shift": ("columns", "row_column", "coefficient"),
    "norm": ("x", "d", "row_prompt"),
    "attention": (
        *("q", "k", "v", "dq", "dk", "dv"),
        *("prefix_k", "prefix_v", "prefix_start", "row_prompt"),
    ),
    "mlp": ("gate", "up", "dgate", "dup", "row_prompt"),
    "logprob": ("dn", "weight", "base_logprob", "targets", "row_prompt"),
}
ROWS = {
    "shift": {"row_column", "coefficient"},
    "norm": {"d", "row_prompt", "branch"},
    "attention": {"dq", "dk", "dv", "row_prompt"},
    "mlp": {"dgate", "dup", "row_prompt"},
    "logprob": {"dn", "row_prompt"},
}


def calls(
    widths: Widths,
    *,
    rows: int,
    lengths: Sequence[int],
    device: str,
    head: torch.dtype,
    step: float = 0.01,
) -> Iterator[Call]:
    """Yield a call of each op with as many rows for every prompt.

    Parameters
    ----------
    lengths : sequence of int
        Prefix tokens of each prompt.
    step : float
        Size of the differences beside a base of size 1.
    head : torch.dtype
        Of the LM head's weight; everything else is float32.
    """
    torch.manual_seed(0)
    R, P, T, D = rows, len(lengths), sum(lengths), widths.head_dim
    H, I, V, Hq, Hkv = widths.hidden, widths.inner, widths.vocabulary, widths.heads, widths.kv_heads
    row_prompt = (torch.arange(R, device=device) * P) // R

    def base(*shape: int) -> Tensor:
        return torch.randn(shape, device=device)

    def rows_of(*shape: int) -> Tensor:
        return step * base(R, *shape)

    columns = min(R, 64)
    yield Call(
        "shift",
        (base(columns, H), torch.arange(R, device=device) % columns, rows_of()),
        size=4 * (R * H + columns * H),
    )
    yield Call(
        "norm",
        (base(P, H), rows_of(H), row_prompt),
        {"weight": base(H), "eps": 1e-5, "kind": widths.kind, "branch": 1e-3 * rows_of(H)},
        size=4 * (4 * R * H + P * H),
    )
    starts = torch.tensor([0, *lengths], device=device).cumsum(0)
    yield Call(
        "attention",
        (
            *(base(P, Hq, D), base(P, Hkv, D), base(P, Hkv, D)),
            *(rows_of(Hq, D), rows_of(Hkv, D), rows_of(Hkv, D)),
            *(base(T, Hkv, D), base(T, Hkv, D), starts, row_prompt),
        ),
        {"scale": D**-0.5, "softcap": widths.softcap},
        size=4 * D * (2 * R * (Hq + Hkv) + 2 * T * Hkv),
        flops=4 * R * Hq * D * T / P,
    )
    gate = (base(P, I), rows_of(I)) if widths.gated else (None, None)
    yield Call(
        "mlp",
        (gate[0], base(P, I), gate[1], rows_of(I), row_prompt),
        {"activation": widths.activation},
        size=4 * I * (R + P) * (2 if widths.gated else 1) + 4 * R * I,
    )
    weight = (base(V, H) / H**0.5).to(head)
    target = torch.randint(V, (P, 1), device=device)
    logits = base(P, V)
    capped = {} if widths.softcap is None else {"softcap": widths.softcap, "base_logits": logits}
    yield Call(
        "logprob",
        # Differences that the head's dtype holds exactly, so that the truth has the same ones.
        (rows_of(H).to(head).float(), weight, logits.log_softmax(1), target, row_prompt),
        capped,
        size=weight.element_size() * V * H + 4 * (R * H + P * V),
        flops=2 * R * V * H,
    )
