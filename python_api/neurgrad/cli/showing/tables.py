"""Tables for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

if TYPE_CHECKING:
    import pandas as pd

# What a column of `to_frame()` is called in a table, and how its numbers are written.
COLUMNS = {
    "layer": ("layer", "{:d}"),
    "neuron": ("neuron", "{:d}"),
    "activation": ("activation", "{:+.3f}"),
    "cg": ("CG (p/unit)", "{:+.3e}"),
    "neurgrad": ("NeurGrad (p/unit)", "{:+.3e}"),
    "neg": ("NEG (p/unit)", "{:+.3e}"),
    "pearson": ("r", "{:+.3f}"),
    "linear": ("linear", ""),
}


def key_values(title: str, lines: Mapping[str, str]) -> Table:
    """Lay out names and values in two columns."""
    table = Table(title=title, title_justify="left", box=None, show_header=False, padding=(0, 2))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in lines.items():
        table.add_row(name, value)
    return table


def neuron_table(title: str, frame: pd.DataFrame) -> Table:
    """Lay out the rows of one prompt of a result's ``to_frame()``, to be printed softly wrapped."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    shown = [name for name in COLUMNS if name in frame.columns]
    columns = []
    for name in shown:
        head, form = COLUMNS[name]
        if name == "linear":
            cells = ["yes" if value else "no" for value in frame[name]]
        else:
            cells = [form.format(value) for value in frame[name]]
        # A digit that a narrow terminal cut off would make another number: lines wrap instead.
        table.add_column(head, justify="right", no_wrap=True, min_width=max(map(len, cells)))
        columns.append(cells)
    for row in zip(*columns, strict=True):
        table.add_row(*row)
    return table
