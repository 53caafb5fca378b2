"""Skill-neuron ranking and size search: packed orders against the same in numpy int8."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.contest import Contestant, contest
from bench.registry import Settings
from bench.report import Record
from neurgrad.features import PackedScores, Ties
from neurgrad.probes import PolarProbe
from neurgrad.probes.ranking import PAPER_SIZES

LABELS = 4
GOAL = 10.0  # times as fast as numpy
BLOCK = 64  # prompts that numpy takes at once, so that its scratch stays in the caches
# Counts are integers: any difference is a mistake.
BUDGET = 1e-12


@dataclass(frozen=True)
class Draw:
    """Random orders, the signs they stand for, and gold labels."""

    scores: PackedScores
    signs: NDArray[np.int8]  # [Q, K, N], what numpy starts from
    gold: NDArray[np.int64]


def run(settings: Settings) -> list[Record]:
    """Rank all neurons on the prompts, and search the paper's sizes on the same ones."""
    n_prompts, n_neurons = (50, 9000) if settings.quick else (1000, 100_000)
    rounds = [draw(n_prompts, n_neurons, seed) for seed in range(settings.repeats + 1)]
    case = f"{n_prompts:,} prompts x {LABELS} labels x {n_neurons:,} neurons"
    probes = {id(one): PolarProbe().fit(one.scores, one.gold) for one in rounds}

    def packed(one: Draw) -> NDArray:
        return PolarProbe().fit(one.scores, one.gold).scores_

    def packed_sizes(one: Draw) -> NDArray:
        return np.array(list(probes[id(one)].accuracy_by_size(one.scores, one.gold).values()))

    def numpy_sizes(one: Draw) -> NDArray:
        probe = probes[id(one)]
        return sizes_in_numpy(one, probe.neurons_, probe.polarity_)

    records = []
    for what, ours, theirs in (
        ("rank", packed, rank_in_numpy),
        ("size search", packed_sizes, numpy_sizes),
    ):
        records += contest(
            f"{what}, {case}",
            [
                Contestant("negkernel", ours, note="one byte a prompt and neuron"),
                Contestant("numpy int8", theirs, goal=GOAL, note="signs in memory, K bytes each"),
            ],
            rounds,
            truth="numpy int8",
            budget=BUDGET,
            rows=n_prompts,
            device="cpu",
        )
    return records


def draw(n_prompts: int, n_neurons: int, seed: int) -> Draw:
    """Draw strict orders and gold labels at random."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 120, (n_prompts, n_neurons), dtype=np.uint8)
    none = Ties(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.uint8))
    scores = PackedScores(codes, LABELS, none)
    return Draw(scores, scores.signs(), rng.integers(0, LABELS, n_prompts))


def rank_in_numpy(one: Draw) -> NDArray:
    """Polar-Probe's ranking score of every neuron."""
    total = np.zeros(one.signs.shape[2], np.int64)
    for start in range(0, len(one.signs), BLOCK):
        block, gold = one.signs[start : start + BLOCK], one.gold[start : start + BLOCK]
        of_gold = np.take_along_axis(block, gold[:, None, None], axis=1)[:, 0]
        total += (2 * of_gold - block.sum(axis=1, dtype=np.int8)).sum(axis=0, dtype=np.int64)
    return total


def sizes_in_numpy(one: Draw, neurons: NDArray, polarity: NDArray) -> NDArray:
    """Accuracy at each of the paper's sizes, by cumulative votes."""
    sizes = [size for size in PAPER_SIZES if size <= len(neurons)]
    chosen = one.signs[:, :, neurons[: sizes[-1]]] * polarity[: sizes[-1]]
    votes = np.add.reduceat(chosen, [0, *sizes[:-1]], axis=2, dtype=np.int64).cumsum(axis=2)
    return (votes.argmax(axis=1) == one.gold[:, None]).mean(axis=0)
