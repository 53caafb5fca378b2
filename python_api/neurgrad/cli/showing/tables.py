"""Tables for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from rich import box
from rich.table import Table

from neurgrad.cli.showing.terminal import plain

if TYPE_CHECKING:
    import pandas as pd

# What a column of `to_frame()` is called in a table, and how its numbers are written.
COLUMNS = {
    "layer": ("layer", "{:d}"),
    "neuron": ("neuron", "{:d}"),
    "activation": ("activation", "{:+.3f}"),
    "cg": ("CG\np/unit", "{:+.3e}"),
    "neurgrad": ("NeurGrad\np/unit", "{:+.3e}"),
    "neg": ("NEG\np/unit", "{:+.3e}"),
    "pearson": ("r", "{:+.3f}"),
    "linear": ("linear", ""),
}


def key_values(title: str, lines: Mapping[str, str]) -> Table:
    """Lay out names and values in two columns."""
    table = Table(
        title=_title(title), title_justify="left", box=None, show_header=False, padding=(0, 2)
    )
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in lines.items():
        table.add_row(plain(name), plain(value))
    return table


def neuron_table(title: str, frame: pd.DataFrame) -> Table:
    """Lay out the rows of one prompt of a result's ``to_frame()``, to be printed softly wrapped."""
    cells = {}
    for name, (head, form) in COLUMNS.items():
        if name in frame.columns:
            cells[head] = [form.format(value) for value in frame[name]]
        if name == "linear" and name in frame.columns:
            known = frame["pearson"].notna()
            cells[head] = [
                ("yes" if value else "no") if finite else "-"
                for value, finite in zip(frame[name], known, strict=True)
            ]
    return grid(title, cells)


def grid(title: str, columns: Mapping[str, Sequence[object]], *, left: int = 0) -> Table:
    """Lay out columns under their heads, each as wide as its widest cell.

    Parameters
    ----------
    columns : mapping
        Head, of one line or more, to cells.
    left : int
        So many columns from the left hold text, the others numbers.
    """
    table = Table(title=_title(title), title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1))
    for place, (head, cells) in enumerate(columns.items()):
        # A digit that a narrow terminal cut off would make another number: lines wrap instead.
        width = max(map(len, [*head.split("\n"), *map(plain, cells)]))
        justify: Literal["left", "right"] = "left" if place < left else "right"
        table.add_column(head, justify=justify, no_wrap=True, min_width=width)
    for row in zip(*columns.values(), strict=True):
        table.add_row(*map(plain, row))
    return table


def _title(text: str) -> str:
    """A title with what users gave made plain; an empty line before it stays."""
    return "\n" * text.startswith("\n") + plain(text.lstrip("\n"))
