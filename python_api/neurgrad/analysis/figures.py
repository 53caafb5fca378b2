"""One way to make a figure, without pyplot's global state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from negkernel.extras import need

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def axes(xlabel: str, ylabel: str, *, panels: int = 1) -> tuple[Figure, list[Axes]]:
    """Make a figure of ``panels`` plots side by side with labelled axes."""
    need("matplotlib", "plots", "drawing")
    from matplotlib.figure import Figure

    from neurgrad.plots.style import PALETTE

    figure = Figure(figsize=(1.5 + 3.5 * panels, 3.4), layout="constrained")
    row = list(figure.subplots(1, panels, squeeze=False)[0])
    for ax in row:
        ax.set_prop_cycle(color=PALETTE)
        ax.set_xlabel(xlabel)
        ax.set_ylabel(ylabel)
        ax.title.set_size("medium")
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(alpha=0.25)
    return figure, row


def legend_beside(figure: Figure, ax: Axes) -> None:
    """Put the legend of a plot beside all of them, where it hides nothing."""
    handles, names = ax.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside right center", frameon=False)
