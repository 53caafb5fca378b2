"""Write tables as CSV that a spreadsheet opens without running what stands in them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from neurgrad.cli.showing.messages import notes
from neurgrad.cli.showing.terminal import counted

if TYPE_CHECKING:
    import pandas as pd

# A spreadsheet takes a cell that begins so for a formula.
FORMULAS = ("=", "+", "-", "@", "\t", "\r")


def write_csv(frame: pd.DataFrame, path: Path | None) -> None:
    """Write a table as CSV; text that looks like a formula gets an apostrophe before it.

    A warning tells how many such cells there are. Parquet files keep all text as it is.

    Parameters
    ----------
    path : Path or None
        None writes to stdout.
    """
    texts = frame.select_dtypes(exclude="number").columns
    found = 0
    frame = frame.copy(deep=False)
    for name in texts:
        column = frame[name].astype(object)
        formula = column.map(lambda cell: isinstance(cell, str) and cell.startswith(FORMULAS))
        if formula.any():
            found += int(formula.sum())
            frame[name] = column.where(~formula.astype(bool), "'" + column.astype(str))
    frame.to_csv(sys.stdout if path is None else path, index=False)
    if found:
        notes.warning(
            "%s like a formula: the CSV has an apostrophe before it, so that no spreadsheet runs "
            "it (Parquet keeps text as it is)",
            counted(found, "cell") + (" begins" if found == 1 else " begin"),
        )
