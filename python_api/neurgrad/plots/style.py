"""What all pictures share: size, fonts, colours, and where new axes come from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes

from negkernel.arguments import check_kind

WIDTH = 3.3  # inches: a column of a two-column paper

# Okabe and Ito: told apart with every common kind of colour blindness, and in grey.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P")

_RC: dict[str, Any] = {
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "legend.fontsize": 7,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.formatter.limits": (-3, 4),
    "lines.linewidth": 1.2,
    "lines.markersize": 3,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "savefig.dpi": 300,
}


@contextmanager
def column() -> Iterator[None]:
    """Draw with sizes that are legible in a paper's column inside the ``with`` block."""
    # Not rc_context: it would also undo what a backend sets when the first figure loads it, such
    # as a notebook's interactive mode.
    settings: dict[str, Any] = mpl.rcParams  # type: ignore[assignment]  # keys: an enumeration
    before = {key: settings[key] for key in _RC}
    settings.update(_RC)
    try:
        yield
    finally:
        settings.update(before)


def axes_or_new(ax: Axes | None, height: float = 2.4) -> Axes:
    """Return `ax`, or the axes of a new pyplot figure that is a column wide."""
    if ax is None:
        return new_axes(1, height)[0]
    check_kind("ax", ax, Axes)
    return ax


def new_axes(rows: int, height: float) -> list[Axes]:
    """Return the axes, one below the other, of a new pyplot figure that is a column wide."""
    import matplotlib.pyplot as plt

    with column():
        _, axes = plt.subplots(
            rows, sharex=True, squeeze=False, figsize=(WIDTH, height), layout="constrained"
        )
    return list(axes[:, 0])


def legend_below(ax: Axes, **options: Any) -> None:
    """Put the legend below the plot, where it hides nothing."""
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=2, **options)


def shorten(text: str, length: int = 36) -> str:
    """Cut a prompt at its beginning: the end is what the target follows."""
    return text if len(text) <= length else "\N{HORIZONTAL ELLIPSIS}" + text[1 - length :]
