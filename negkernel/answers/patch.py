"""Give every neuron the value it has on another prompt, one exact row each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm.auto import tqdm

from negkernel import spectral
from negkernel.answers.asked import How
from negkernel.answers.kept import again, kept, manifest_of
from negkernel.answers.run import report_spelling
from negkernel.arguments import check_path
from negkernel.handle import Host
from negkernel.judge.choice import Asked, answer
from negkernel.methods.base import Method, Opened
from negkernel.model.finite import check_finite
from negkernel.request.directions import Directions
from negkernel.request.encoding import Encoding
from negkernel.request.neurons import check_neurons, every_neuron
from negkernel.request.prompts import Prompts, Request
from negkernel.request.rows import sweep_rows
from negkernel.results import storage
from negkernel.results.ledger import Ledger
from negkernel.results.patches import Patches
from negkernel.sites import Site, Spot
from negkernel.spectral.opened import only

Pieces = Mapping[str, tuple[int, np.ndarray]]  # prompt and places of neurons in the result


def patch(
    host: Host,
    request: Request,
    sources: Prompts,
    neurons: Any,
    how: How,
    *,
    folder: str | Path | None,
    encoding: Encoding,
) -> Patches:
    """Answer :meth:`negkernel.Engine.patch`."""
    request.one_token("patches")
    others = _sources(host, request, sources, encoding)
    place = None if folder is None else check_path("folder", folder)
    every = neurons is None
    heads = isinstance(how.site, str) and how.site == "head"
    if isinstance(neurons, Directions) or heads:
        raise ValueError(
            "patches give neurons of the feed-forward layers the value of another prompt; expected "
            "neurons [N, 2] and one of their sites"
        )
    neurons, where = host.place(every_neuron(host.widths) if every else neurons, how.site)
    pairs = check_neurons(neurons, len(request), host.widths)
    if pairs.ndim == 3:
        raise ValueError(
            f"neurons has shape {list(pairs.shape)}; expected [N, 2], the same for every prompt"
        )
    pieces = _pieces(len(request), host.widths, pairs)

    def compute(runner: Method) -> Patches:
        with ExitStack() as work:
            ledger = None
            if place is not None:
                asked = {
                    "site": where.name,
                    "method": runner.name,
                    "source_tokens": others.tokens,
                    "neurons": "all" if every else pairs.tolist(),
                }
                wanted = manifest_of(host, "patches", request, asked, list(pieces))
                ledger = work.enter_context(kept(host, place, wanted))
                runner = again(host, runner)
            measure = _Measure(runner, request, others, where, pairs)
            found, watched = _collected(measure, pieces, ledger)
        check_finite(host.model, watched)
        report_spelling(request, watched)
        for name in ("base_logprob", "logprob_shift", "logprob_estimate"):
            found[name] = request.squeeze(found[name])
        arrays: dict[str, Any] = {**found}
        return Patches(
            **request.fields(),
            **host.identity(),
            neurons=pairs,
            source_tokens=[list(tokens) for tokens in others.tokens],
            site=where.name,
            method=runner.name,
            **arrays,
        )

    return answer(host, request, Asked(how.method, where, how.check), compute)


def _sources(host: Host, request: Request, sources: Prompts, encoding: Encoding) -> Request:
    """Prompts that values are taken from, one for each of a request's."""
    try:
        return host.encode(sources, request.target_ids.tolist(), **encoding)
    except (ValueError, TypeError) as error:
        raise type(error)(f"sources: {error}") from None


def _pieces(n_prompts: int, widths: np.ndarray, neurons: np.ndarray) -> Pieces:
    """What is computed at once: the neurons that lie in some layers, of one prompt."""
    found = {}
    for shard in spectral.pieces(n_prompts, widths):
        assert shard.layers is not None
        first, last = shard.layers
        inside = (neurons[:, 0] >= first) & (neurons[:, 0] < last)
        if inside.any():
            found[shard.name] = shard.prompts[0], np.flatnonzero(inside)
    return found


class _Measure:
    """Computes pieces, with one group of prompts and one of sources open at a time."""

    def __init__(
        self, runner: Method, request: Request, sources: Request, site: Site, neurons: np.ndarray
    ):
        self._own = _Prompts(runner, request, Spot(site, "signed"))
        self._sources = _Prompts(runner, sources, Spot(site, "value"))
        self.neurons = neurons
        self.size = len(request), request.K

    def __call__(self, p: int, chosen: np.ndarray) -> dict[str, np.ndarray]:
        """Log-probs [2 K], activations [n] and changes [K, n] of the neurons ``chosen``."""
        value = self._sources.of(p).activation[0]  # read first: the group's room is free again
        own = self._own.of(p)
        pairs = torch.from_numpy(self.neurons[chosen])
        at = tuple(pairs.T)
        source, activation = value[at], own.activation[0][at]
        by = (source - activation).to(own.base_logprob.dtype)
        change = own.shifted(sweep_rows(pairs[None], by[None, :, None]))
        assert own.slope is not None  # there is one along this axis
        slope = own.slope[0][(slice(None), *at)]
        arrays = {
            "watched": own.base_logprob[0],
            "activation": activation,
            "source_activation": source,
            "logprob_shift": change.T,
            "logprob_estimate": slope * by,
        }
        return {name: np.ascontiguousarray(array.cpu().numpy()) for name, array in arrays.items()}


class _Prompts:
    """Prompts of a request, opened by the groups that a method takes together."""

    def __init__(self, runner: Method, request: Request, spot: Spot):
        self._runner, self._request, self._spot = runner, request, spot
        self._groups = list(runner.groups(request))
        self._open: tuple[int, int, Opened] | None = None

    def of(self, p: int) -> Opened:
        if self._open is None or not self._open[0] <= p < self._open[1]:
            self._open = None  # before the next group takes room
            first, last = next(group for group in self._groups if group[0] <= p < group[1])
            (found,) = self._runner.open(self._request.take(range(first, last)), self._spot)
            self._open = first, last, found
        return only(self._open[2], p - self._open[0])


def _collected(
    measure: _Measure, pieces: Pieces, ledger: Ledger | None
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Join all pieces to the arrays of a result, and the watched log-probs [P, 2 K]."""
    (P, K), N = measure.size, len(measure.neurons)
    found: dict[str, np.ndarray] = {}
    for name, part in tqdm(_parts(measure, pieces, ledger), total=len(pieces), disable=None):
        p, chosen = pieces[name]
        for key, values in part.items():
            inner = values.shape if key == "watched" else (*values.shape[:-1], N)
            array = found.setdefault(key, np.empty((P, *inner), values.dtype))
            array[p][... if key == "watched" else (..., chosen)] = values
    watched = found.pop("watched")
    return {**found, "base_logprob": watched[:, :K]}, watched


def _parts(
    measure: _Measure, pieces: Pieces, ledger: Ledger | None
) -> Iterable[tuple[str, dict[str, np.ndarray]]]:
    """Every piece by name: computed, or read where the ledger has it."""

    def keep(name: str) -> Mapping[str, Any]:
        arrays = measure(*pieces[name])
        return {".safetensors": lambda path: storage.write(path, "Patch", arrays, {})}

    for name in pieces if ledger is None else ledger.share(pieces, keep):
        if ledger is None:
            yield name, measure(*pieces[name])
        else:
            yield name, dict(storage.read(ledger.path(name), "Patch")[0])
