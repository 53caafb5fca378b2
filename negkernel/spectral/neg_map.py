"""Every neuron's NEG, in portions that can be kept on disk and taken up again."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from negkernel.methods.base import Opened
from negkernel.neurons import every_neuron
from negkernel.request.prompts import Request
from negkernel.results import statistics, storage
from negkernel.spectral.opened import CURVES, curves, only

log = logging.getLogger(__name__)

GRID = 100  # shifts of the paper's protocol, zero excluded


def paper_grid(radius: float, dtype: type[np.floating[Any]]) -> np.ndarray:
    """Return the 100 evenly spaced shifts within ``[-radius, radius]``, without 0."""
    grid = np.linspace(-radius, radius, GRID + 1)
    return np.delete(grid, GRID // 2).astype(dtype)


@dataclass(frozen=True)
class Portion:
    """Some layers of one prompt.

    Attributes
    ----------
    prompt : int
    layers : slice
    arrays : dict of str to ndarray
        ``neg``, ``pearson``, ``error`` [K, l, I], ``activation`` [l, I], ``base_logprob`` [K].
    rows : int
    """

    prompt: int
    layers: slice
    arrays: dict[str, np.ndarray]
    rows: int


def portions(
    request: Request,
    opened: Callable[[Request], Iterator[Opened]],
    widths: np.ndarray,
    shifts: np.ndarray,
    *,
    tol: float,
    eps: float,
    folder: Path | None,
    identity: dict[str, Any],
    progress: bool | None,
) -> Iterator[Portion]:
    """Yield the NEG of all neurons; portions found whole in ``folder`` are not computed again.

    Parameters
    ----------
    opened : callable
        Computes prompts, see :meth:`negkernel.methods.base.Method.open`.
    widths : ndarray [L]
        Neurons of each layer.
    folder : Path or None
        Where finished portions are kept, one checked file each, under a manifest of what was asked.
    identity : dict
        What makes two requests the same, beside the prompts.
    progress : bool or None
        Show a bar; None shows it on a terminal.

    Raises
    ------
    ValueError
        ``folder`` holds the portions of another request.
    """
    L = len(widths)
    step = max(1, CURVES // int(widths.max()))
    blocks = [slice(first, min(first + step, L)) for first in range(0, L, step)]
    if folder is not None:
        asked = {"prompt_tokens": request.tokens, "target_ids": request.target_ids.tolist()}
        asked["positions"] = [int(p) for p in request.positions]
        if request.elsewhere is not None:
            asked["shifted"] = request.elsewhere
        _claim(folder, {**identity, **asked})
    with tqdm(
        total=len(request) * L,
        unit="layer",
        desc="NEG",
        disable=None if progress is None else not progress,
    ) as bar:
        missing: dict[int, list[slice]] = {}
        for p in range(len(request)):
            for block in blocks:
                portion = None if folder is None else _kept(folder, p, block)
                if portion is None:
                    missing.setdefault(p, []).append(block)
                    continue
                bar.update(block.stop - block.start)
                yield portion
        todo = list(missing)
        for group in opened(request.take(todo)) if todo else ():
            for own in range(group.last - group.first):
                p = todo[group.first + own]
                for block in missing[p]:
                    portion = _measure(only(group, own), p, block, widths, shifts, tol, eps)
                    if folder is not None:
                        storage.write(
                            _file(folder, p, block),
                            "Portion",
                            portion.arrays,
                            {"rows": portion.rows},
                        )
                    bar.update(block.stop - block.start)
                    yield portion


def collect(
    portions: Iterable[Portion],
    request: Request,
    widths: np.ndarray,
    dtype: type[np.floating[Any]],
) -> dict[str, Any]:
    """Join all portions of a request to the arrays of a :class:`~negkernel.results.NegMap`."""
    P, K, L, I = len(request), request.K, len(widths), int(widths.max())
    per_target = {name: np.empty((P, K, L, I), dtype) for name in ("neg", "pearson", "error")}
    activation, base_logprob = np.empty((P, L, I), dtype), np.empty((P, K), dtype)
    rows = 0
    for portion in portions:
        p, found = portion.prompt, portion.arrays
        for name, array in per_target.items():
            array[p, :, portion.layers] = found[name]
        activation[p, portion.layers] = found["activation"]
        base_logprob[p] = found["base_logprob"]
        rows += portion.rows
    return {
        **{name: request.squeeze(array) for name, array in per_target.items()},
        "base_logprob": request.squeeze(base_logprob),
        "activation": activation,
        "rows": rows,
    }


def _measure(
    one: Opened,
    prompt: int,
    layers: slice,
    widths: np.ndarray,
    shifts: np.ndarray,
    tol: float,
    eps: float,
) -> Portion:
    layer, index = every_neuron(widths[layers]).T
    neurons = np.stack([layers.start + layer, index], axis=1)
    found = curves(one, neurons[None], shifts, tol=tol, eps=eps)
    base = one.base_logprob[0].numpy()
    base = base[: len(base) // 2]
    dp = statistics.prob_shift(base[:, None], found.values)  # [n, K, J]
    dtype = base.dtype
    measured = {
        "neg": statistics.neg(shifts, dp),
        "pearson": statistics.pearson(shifts, dp),
        "error": found.error,
    }
    size = dp.shape[1], layers.stop - layers.start, int(widths.max())
    arrays = {name: np.full(size, np.nan, dtype) for name in measured}
    for name, values in measured.items():
        arrays[name][:, layer, index] = values.T
    arrays["activation"] = one.activation[0, layers].numpy()
    arrays["base_logprob"] = base
    return Portion(prompt, layers, arrays, int(found.rows.sum()))


def _file(folder: Path, prompt: int, layers: slice) -> Path:
    return folder / f"prompt{prompt:05d}-layers{layers.start:03d}-{layers.stop:03d}.safetensors"


def _kept(folder: Path, prompt: int, layers: slice) -> Portion | None:
    """Read a finished portion, None if it is missing or damaged."""
    path = _file(folder, prompt, layers)
    if not path.exists():
        return None
    try:
        arrays, described = storage.read(path, "Portion")
    except ValueError as reason:
        log.warning("%s; it is computed again", reason)
        return None
    return Portion(prompt, layers, arrays, described["rows"])


def _claim(folder: Path, identity: dict[str, Any]) -> None:
    """Make ``folder`` this request's, or find that it is."""
    folder.mkdir(parents=True, exist_ok=True)
    manifest = folder / "manifest.json"
    wanted = json.loads(json.dumps(identity))
    if manifest.exists():
        found = json.loads(manifest.read_text())
        differ = [key for key in wanted if found.get(key) != wanted[key]]
        if differ:
            raise ValueError(
                f"{folder} holds another request (it differs in {', '.join(differ)}); pass another "
                "folder, or remove this one"
            )
    else:
        manifest.write_text(json.dumps(wanted))
