"""Draw the picture of the front page from the embedded model, as the site is built."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from mkdocs.structure.files import File, Files

NAME = "assets/curves.svg"


def on_files(files: Files, config: Any, **_: Any) -> Files:
    """Add the picture to the files of the site; mkdocs calls this once a build."""
    files.append(File.generated(config, NAME, content=_draw()))
    return files


def _draw() -> bytes:
    import matplotlib

    matplotlib.use("Agg")
    from neurgrad import demo
    from neurgrad.plots import sweep_curves

    engine = demo.load("causal")
    prompt, target = ["The capital of France is"], ["Paris"]
    neurons, _ = engine.gradients(prompt, target).top(5)
    sweep = engine.sweep(prompt, target, neurons, np.linspace(-2, 2, 101))
    figure = sweep_curves(sweep, prompt=0, neurons=5).figure
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "curves.svg"
        figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
        return path.read_bytes()
