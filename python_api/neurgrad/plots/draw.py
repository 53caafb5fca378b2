"""All pictures of a result, as files."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from negkernel import Gradients, Sweep
from negkernel.arguments import check_kind, check_path, shown
from neurgrad.plots.activation import activation_against_neg
from neurgrad.plots.curves import sweep_curves
from neurgrad.plots.histogram import neg_histogram
from neurgrad.plots.layers import layer_profile
from neurgrad.plots.style import WIDTH, column


def draw_all(
    result: Sweep | Gradients, folder: str | Path, *, title: str | None = None
) -> list[Path]:
    """Write every picture that suits a result, as PNG and as SVG.

    Parameters
    ----------
    result : Sweep or Gradients
        Gradients have no curves.
    folder : str or Path
        Made if it is missing; pictures of the same names are replaced.
    title : str, optional
        Of the curves, which are the first prompt's; see :func:`sweep_curves`.

    Returns
    -------
    list of Path
        The files.
    """
    check_kind("result", result, Sweep, Gradients)
    folder = check_path("folder", folder)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"folder {shown(str(folder))} is a file; expected a folder to draw into")
    folder.mkdir(parents=True, exist_ok=True)
    with column():
        figures = {
            "histogram": _figure(2.4),
            "layers": _figure(3.2),
            "activation": _figure(2.4),
        }
        neg_histogram(result, ax=figures["histogram"].subplots())
        layer_profile(result, axes=figures["layers"].subplots(2, sharex=True))
        activation_against_neg(result, ax=figures["activation"].subplots())
        if isinstance(result, Sweep):
            figures["curves"] = _figure(2.6)
            sweep_curves(result, title=title, ax=figures["curves"].subplots())
        paths = []
        for name, figure in figures.items():
            for suffix in (".png", ".svg"):
                paths.append(folder / f"{name}{suffix}")
                figure.savefig(paths[-1])
    return paths


def _figure(height: float) -> Figure:
    # Without pyplot: nothing is registered, shown or left open.
    return Figure(figsize=(WIDTH, height), layout="constrained")
