"""The benchmarks by name, and what all of them are told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from bench.report import Record

# Name -> one line for the help. Each is a module of this package with `run(settings)`.
BENCHMARKS = {
    "sweep": "shifts a second: delta against hooks, an expert's recipe and a plain forward",
    "gradients": "all neurons, several labels: last-token VJPs against plain and full backwards",
    "fidelity": "NEG in low precision: delta and full forwards against float64 truth",
    "curvature": "NEG over ranges of shifts against the gradient at zero, in float64",
    "kernels": "each op against plain PyTorch, torch.compile and the machine's ceilings",
    "roofline": "the whole sweep: useful FLOP a second over the rate of a large matrix product",
    "masked": "a BERT of base size: delta against hooks, and peak memory",
    "attribution": "scores of all neurons: IG, LPI and NEG against the usual ways",
    "spectral": "curves from a few shifts: against the grid, and how honest their errors are",
    "collection": "gradient features of prompts against only reading the prompts",
    "patching": "exact activation patching of all neurons against its first-order estimate",
    "peers": "nnsight, TransformerLens, pyvene, captum, recipes by hand: costs on a real model",
    "autoencoder": "features of a sparse autoencoder, trained here, beside neurons of its layer",
    "load": "a sweep and gradients beside programs that want the same cores: spinning or sleeping",
    "steer": "answers brought to a wanted probability: how near, in how many rows, at what damage",
    "coverage": "every causal and masked type of transformers: the engine against plain forwards",
    "start": "bytes of the installation and seconds of the import and of the help",
    "plan": "seconds that a plan predicts against those that the call takes",
    "scale": "rows a second and weights read: in memory, with layers on disk, in two processes",
    "generic": "rows a second through any model's own modules: against delta, and suffix",
    "ranking": "probes' ranking and size search: packed orders against numpy int8",
}


@dataclass(frozen=True)
class Settings:
    """What the command line says.

    Attributes
    ----------
    repeats : int
        Timed rounds, each on prompts of its own.
    device : str
        Where the models live.
    quick : bool
        Tiny shapes, a few seconds: a check of the benchmark, not a measurement.
    rows : int or None
        Measure the peak memory of a sweep of so many rows instead of its speed.
    only : str or None
        The case that is run, by the beginning of its name.
    """

    repeats: int = 5
    device: str = "cpu"
    quick: bool = False
    rows: int | None = None
    only: str | None = None


def load(name: str) -> Callable[[Settings], list[Record]]:
    """Return the function that runs benchmark ``name``."""
    run: Callable[[Settings], list[Record]] = import_module(f"bench.{name}").run
    return run
