"""Enter everyone into the sweeps: one layer, all layers, an ablation, and a table of NEGs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from bench.opponents import expert
from bench.opponents.expert import Expert
from bench.opponents.expert_masked import MaskedExpert
from bench.opponents.peers import reference_table, torch_rows
from bench.opponents.peers.asked import Sweep, changes
from bench.peers.asks import Asks, cells, share
from bench.peers.case import Case, Entrant
from bench.peers.libraries import Asked, Libraries
from bench.peers.models import Models
from negkernel.testing.exact import exact_float64

# Rows differ by 1e-4 to 1 nat; float32 rounds a whole forward's log p by some 1e-6.
BUDGET, FLOOR = 2e-3, 2e-5
TOL = 1e-3
# Calibrated once on this model, at both lengths: within 3 % of the fastest of `expert.CHUNKS`.
CHUNKS = 512, 512
SEQUENCE = 64


def one_layer(models: Models, asks: Asks) -> Iterator[Case]:
    """Yield W1 for a short and a long prompt."""
    libraries, truth = Libraries(models), torch_rows.OverPrefix(models.exact())
    for length, goal in zip(asks.lengths, (1.8, 4.5), strict=True):
        yield _one_layer(models, libraries, truth, asks.one_layer(length), goal)


def all_layers(models: Models, asks: Asks) -> Iterator[Case]:
    """Yield W2 for a short prompt."""
    truth = torch_rows.OverPrefix(models.exact())
    yield _all_layers(models, Libraries(models), truth, asks.all_layers(asks.lengths[0]))


def table(models: Models, asks: Asks) -> Iterator[Case]:
    """Yield W5 for a short prompt."""
    truth = torch_rows.OverPrefix(models.exact())
    yield _table(models, truth, asks.one_layer(asks.lengths[0]))


def ablation(models: Models, asks: Asks) -> Iterator[Case]:
    """Yield W6 for a short and a long prompt."""
    libraries, truth = Libraries(models), torch_rows.OverPrefix(models.exact())
    for length in asks.lengths:
        yield _ablation(models, libraries, truth, asks.ablation(length))


def _one_layer(models: Models, libraries: Libraries, truth: Any, whole: Sweep, goal: float) -> Case:
    n = len(whole.neurons)
    asked = Asked(whole, cells(whole, 4, 25))
    half, some = cells(whole, max(4, n // 2), 1), cells(whole, max(4, n // 8), 1)
    entrants = [
        _ours(models, asked, half),
        replace(_ours(models, asked, whole, spectral=True), budget=BUDGET + TOL),
        *_experts(models, asked, half),
        libraries.entrant("nnsight, prefix KV + skip", asked, some, goal),
        libraries.entrant("TransformerLens 3, start_at_layer + frozen KV", asked, some),
        libraries.entrant("nnsight, prefix KV", asked, some),
        libraries.entrant("TransformerLens 4 bridge, prefix KV", asked, some),
        libraries.entrant("nnsight, plain", asked, asked.few),
        libraries.entrant("TransformerLens 4 bridge, plain", asked, asked.few),
        libraries.entrant("pyvene", asked, asked.few),
        libraries.entrant("captum LayerFeatureAblation", asked, asked.few),
    ]
    name = f"W1, {len(whole.tokens)} tokens: 100 shifts x {n} neurons of a layer"
    return _case(name, entrants, truth, asked.few)


def _all_layers(models: Models, libraries: Libraries, truth: Any, whole: Sweep) -> Case:
    asked, some = Asked(whole, cells(whole, 4, 50)), cells(whole, len(whole.neurons), 10)
    entrants = [
        _ours(models, asked, some),
        *_experts(models, asked, some),
        libraries.entrant("nnsight, prefix KV + skip", asked, some),
        libraries.entrant("TransformerLens 3, start_at_layer + frozen KV", asked, some),
    ]
    name = f"W2, {len(whole.tokens)} tokens: 100 shifts x {len(whole.neurons)} neurons, all layers"
    return _case(name, entrants, truth, asked.few)


def _ablation(models: Models, libraries: Libraries, truth: Any, whole: Sweep) -> Case:
    n = len(whole.neurons)
    asked, some = Asked(whole, cells(whole, 16, 1)), cells(whole, max(16, n // 4), 1)
    entrants = [
        _ours(models, asked, whole),
        libraries.entrant("nnsight, prefix KV + skip", asked, some),
        libraries.entrant("TransformerLens 3, start_at_layer + frozen KV", asked, some),
        libraries.entrant("captum LayerFeatureAblation", asked, asked.few),
    ]
    name = f"W6, {len(whole.tokens)} tokens: {n} neurons of a layer set to 0"
    return _case(name, entrants, truth, asked.few)


def _case(name: str, entrants: list[Entrant], truth: Any, few: Sweep) -> Case:
    """Compare everyone on the cells of ``few``: each answer has them first, at a step."""
    with exact_float64(truth.model):
        right = changes(truth, few).numpy()

    def pick(answer: np.ndarray) -> np.ndarray:
        every = -(-answer.shape[1] // right.shape[1])
        found: np.ndarray = answer[: len(right), ::every]
        return found

    return Case(name, [replace(one, pick=pick) for one in entrants], right, BUDGET, FLOOR)


def _ours(models: Models, asked: Asked, part: Sweep, *, spectral: bool = False) -> Entrant:
    def grid(sweep: Sweep) -> np.ndarray:
        found = models.engine.sweep(
            [sweep.tokens],
            [sweep.target],
            sweep.neurons.numpy(),
            sweep.amounts,
            axis="zero_ablation" if sweep.amounts is None else "magnitude",
        )
        return found.logprob_shift[0]

    def curves(sweep: Sweep) -> np.ndarray:
        found = models.engine.sweep(
            [sweep.tokens],
            [sweep.target],
            sweep.neurons.numpy(),
            sweep.amounts,
            resolution="spectral",
            tol=TOL,
        )
        return found.logprob_shift[0]

    name, answer = ("negkernel spectral", curves) if spectral else ("negkernel", grid)
    note = f"tol {TOL:g}" if spectral else models.note
    return asked.entrant(name, answer, part, code=(answer,), note=note)


def _experts(models: Models, asked: Asked, part: Sweep) -> Iterator[Entrant]:
    """Both recipes, in the chunks that are fastest."""
    flash = Expert(models.model, *CHUNKS)
    masked = MaskedExpert(flash, SEQUENCE)

    def by(recipe: Any) -> Callable[[Sweep], np.ndarray]:
        def answer(sweep: Sweep) -> np.ndarray:
            request = sweep.tokens, sweep.target, sweep.neurons, sweep.amounts
            found: np.ndarray = recipe.sweep(*request).numpy()
            return found

        return answer

    note, parts = f"chunks of {CHUNKS[0]} rows", (expert.Base, Expert, MaskedExpert)
    name = "expert recipe, flash + log-sum-exp"
    yield asked.entrant(name, by(flash), part, code=(expert,), goal=1.3, note=note)
    name = "expert recipe, masked sdpa"
    yield asked.entrant(name, by(masked), part, code=parts, note=note)


def _table(models: Models, truth: Any, whole: Sweep) -> Case:
    """A NEG for each neuron: in a data frame, and as the paper's notebook takes it."""
    few = cells(whole, 1, 25)
    request = [whole.tokens], [whole.target], whole.neurons.numpy(), whole.amounts

    def table() -> Any:
        sweep = models.engine.sweep(*request)
        return sweep, sweep.to_frame()

    def curves() -> Any:
        sweep = models.engine.sweep(*request, resolution="spectral", tol=TOL)
        return sweep, sweep.to_frame()

    def notebook() -> np.ndarray:
        return reference_table.notebook(models.model, few)[1]

    with torch.no_grad(), exact_float64(truth.model):
        shared, nothing = truth.begin(few.tokens), torch.zeros(1)
        base = truth.rows(shared, few.target, 0, few.neurons[:1, 1], nothing).exp()
        right = (base * changes(truth, few).expm1()).numpy()
    entrants = [
        Entrant("negkernel", table, pick=_shifts, code=(table,), note=models.note),
        Entrant("negkernel spectral", curves, pick=_shifts, code=(curves,), budget=BUDGET + TOL),
        Entrant(
            "the paper's notebook",
            notebook,
            code=(reference_table,),
            work=share(few, whole),
            note=f"four forwards a size, no batch; timed on {few.columns} shifts and scaled",
        ),
    ]
    name = f"W5, {len(whole.tokens)} tokens: W1 to a table of NEGs"
    return Case(name, entrants, right, BUDGET, FLOOR)


def _shifts(answer: Any) -> np.ndarray:
    found: np.ndarray = answer[0].prob_shift()[0, :1, ::25]
    return found
