"""Probability against shift, with the line whose slope is NEG."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral

import numpy as np
from matplotlib.axes import Axes

from negkernel import Sweep
from negkernel.arguments import check_index, check_integer, shown
from neurgrad.plots.style import MARKERS, PALETTE, axes_or_new, column, legend_below, shorten


def sweep_curves(
    sweep: Sweep,
    prompt: int = 0,
    neurons: int | list[int] = 4,
    *,
    target: int = 0,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the measured curves of some neurons of a prompt, and their NEG lines dashed.

    Parameters
    ----------
    sweep : Sweep
        At most six neurons are legible.
    prompt, target : int
        Which prompt, and which of its targets where it has several.
    neurons : int or list of int
        How many of the neurons, those with the largest ``|NEG|``; or their places in the sweep.
    title : str, optional
        In the place of the prompt's end, such as the question that a chat template was put around.
    ax : Axes, optional
        Drawn on; new ones by default.

    Returns
    -------
    Axes

    Raises
    ------
    IndexError
        No such prompt, target or neuron.
    TypeError
        Not a sweep: gradients have no curves.
    """
    if not isinstance(sweep, Sweep):
        raise TypeError(
            f"expected a Sweep to draw curves of, got {type(sweep).__name__}; call Engine.sweep"
        )
    prompt = check_index("prompt", prompt, len(sweep.prompts))
    K = sweep.target_ids[0].size
    target = check_index("target", target, K)
    cell = (prompt, target) if sweep.target_ids.ndim == 2 else (prompt,)
    neg, shift = sweep.neg()[cell], sweep.prob_shift()[cell]
    names = np.broadcast_to(sweep.neurons, (*sweep.activation.shape, 2))[prompt]
    if isinstance(neurons, Integral):
        check_integer("neurons", neurons, 1)
        strongest = np.argsort(-np.abs(neg), kind="stable")
        neurons = [int(index) for index in strongest[: min(int(neurons), len(PALETTE))]]
    if not isinstance(neurons, Sequence | np.ndarray) or np.ndim(neurons) != 1 or not len(neurons):
        raise ValueError(f"neurons is {shown(neurons)}; expected how many, or a list of places")
    neurons = [check_index("neurons", index, len(names)) for index in neurons]
    order = np.argsort(sweep.shifts)
    x = sweep.shifts[order]
    ax = axes_or_new(ax)
    with column():
        for index, colour, marker in zip(neurons, PALETTE, MARKERS, strict=False):
            layer, neuron = names[index]
            ax.plot(
                x,
                shift[index][order],
                color=colour,
                marker=marker,
                markevery=max(1, len(x) // 8),
                label=f"layer {layer}, neuron {neuron}",
            )
            ax.plot(x, neg[index] * x, color=colour, linestyle=(0, (3, 2)), linewidth=0.8)
        ax.axhline(0, color="0.7", linewidth=0.5, zorder=0)
        ax.axvline(0, color="0.7", linewidth=0.5, zorder=0)
        # A line through a saturated curve would shrink it to nothing.
        curves = shift[neurons]
        margin = 0.15 * max(float(curves.max() - curves.min()), 1e-12)
        ax.set_ylim(min(0.0, curves.min()) - margin, max(0.0, curves.max()) + margin)
        ax.set_xlabel(_shift_label(sweep.axis))
        ax.set_ylabel("change of probability")
        targets = sweep.targets[prompt]
        word = targets if isinstance(targets, str) else targets[target]
        shown_title = shorten(sweep.prompts[prompt] if title is None else title)
        ax.set_title(f"{shown_title} [{word}]", loc="right")
        n = f"{len(neurons)} of n = {len(names):,} neurons"
        legend_below(ax, title=f"{n}; dashed: NEG", title_fontsize=7)
    return ax


def _shift_label(axis: str) -> str:
    return {
        "magnitude": "shift away from zero (activation units)",
        "signed": "shift (activation units)",
        "scale": "shift (multiple of the activation)",
        "value": "activation put in place",
    }[axis]
