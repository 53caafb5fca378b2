"""Skill-neuron ranking and size search: packed orders against the same in numpy int8."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.contest import Contestant, contest
from bench.registry import Settings
from bench.report import Record
from negkernel.testing.timing import interleave
from neurgrad.features import PackedScores, Ties
from neurgrad.probes import PolarProbe
from neurgrad.probes.ranking import PAPER_SIZES

LABELS = 4
GOAL = 10.0  # times as fast as numpy
WHOLE_GOAL = 5.0  # seconds for a task of the benchmark on every neuron of a 7B model
BLOCK = 64  # prompts that numpy takes at once, so that its scratch stays in the caches
# Counts are integers: any difference is a mistake.
BUDGET = 1e-12
NO_TIES = Ties(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.uint8))


@dataclass(frozen=True)
class Draw:
    """Random orders, the signs they stand for, and gold labels."""

    scores: PackedScores
    signs: NDArray[np.int8]  # [Q, K, N], what numpy starts from
    gold: NDArray[np.int64]


def run(settings: Settings) -> list[Record]:
    """Rank neurons, search the paper's sizes on the same prompts, then rank a whole 7B model's."""
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
    return [*records, whole_model(settings)]


def whole_model(settings: Settings) -> Record:
    """Rank every neuron on as many prompts as a task has, from orders in memory."""
    n_prompts, n_neurons = (60, 9000) if settings.quick else (6000, 352_256)
    rng = np.random.default_rng(0)
    scores = random_orders(rng, n_prompts, n_neurons)
    gold = rng.integers(0, LABELS, n_prompts)
    ours = PolarProbe().fit(scores, gold).scores_
    some = PackedScores(scores.codes[:, :1000].copy(), LABELS, NO_TIES)
    if not np.array_equal(ours[:1000], rank_in_numpy(Draw(some, some.signs(), gold))):
        raise AssertionError("the ranking of a whole model is not numpy's")
    time = interleave({"": lambda _: PolarProbe().fit(scores, gold)}, range(settings.repeats))[""]
    return Record(
        f"rank, {n_prompts:,} prompts x {LABELS} labels x {n_neurons:,} neurons",
        "negkernel",
        {
            "repeats": settings.repeats,
            "p20_s": time.p20,
            "p50_s": time.p50,
            "p80_s": time.p80,
            "rows": n_prompts,
            "rows_per_s": n_prompts / time.p50,
            "ratio": None,
            "goal": WHOLE_GOAL,
            "reached": time.p50 <= WHOLE_GOAL,
            "error": 0.0,
        },
        note=f"the goal is {WHOLE_GOAL:g} seconds",
    )


def draw(n_prompts: int, n_neurons: int, seed: int) -> Draw:
    """Draw strict orders and gold labels at random."""
    rng = np.random.default_rng(seed)
    scores = random_orders(rng, n_prompts, n_neurons)
    return Draw(scores, scores.signs(), rng.integers(0, LABELS, n_prompts))


def random_orders(rng: np.random.Generator, n_prompts: int, n_neurons: int) -> PackedScores:
    """Draw strict orders of the labels' scores and zero."""
    codes = rng.integers(0, 120, (n_prompts, n_neurons), dtype=np.uint8)
    return PackedScores(codes, LABELS, NO_TIES)


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
