"""How near answers come to a wanted probability in at most three exact rows, and the damage.

The first facts of the table of countries that the model knows: the half of lower probability is
raised, the other is lowered.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import numpy as np

import neurgrad
from bench.registry import Settings
from bench.report import Record, Value
from negkernel import Engine
from neurgrad import demo, real
from neurgrad.analysis.answered import answered
from neurgrad.demo.facts import facts

PROMPTS = {"capital": "The capital of {} is", "language": "The official language of {} is"}
EACH, K = 20, 32
RAISED, LOWERED = 0.8, 0.2


def run(settings: Settings) -> list[Record]:
    """Steer the embedded causal model, or a real one where it is prepared."""
    if settings.quick:
        return list(_steered("embedded", demo.load("causal"), 3))
    if real.is_prepared("smollm2"):
        return list(_steered("SmolLM2-135M", real.load("smollm2"), EACH))
    return list(_steered("embedded", demo.load("causal"), EACH))


def _steered(name: str, engine: Engine, each: int) -> Iterator[Record]:
    asked = [(PROMPTS[kind].format(of), word) for kind, of, word in facts() if kind in PROMPTS]
    known = answered(engine, *map(list, zip(*asked, strict=True)), limit=2 * each)
    prob = engine.gradients(known.prompts, known.targets).prob
    order = np.argsort(prob, kind="stable")
    half = len(order) // 2
    for what, chosen, aim in (("raised", order[:half], RAISED), ("lowered", order[half:], LOWERED)):
        prompts, targets = (
            [values[i] for i in chosen] for values in (known.prompts, known.targets)
        )
        start = time.process_time()
        found = neurgrad.steer(engine, prompts, targets, probability=aim, k=K)
        measures = _measured(found)
        measures["cpu_seconds"] = time.process_time() - start
        yield Record(name, f"{len(prompts)} answers {what} to {aim}", measures, f"{K} neurons")


def _measured(found: neurgrad.Steered) -> dict[str, Value]:
    def median(values: Sequence[float] | np.ndarray) -> float:
        return float(np.median(values))

    return {
        "base": median(found.base),
        "within_.05": float(found.within().mean()),
        "median_distance": median(np.abs(found.actual - found.probability)),
        "rows": float(found.rows.mean()),
        "first_order_off": median(np.abs(found.predicted - found.actual)),
        "median_kl": median(found.kl),
        "largest_kl": float(found.kl.max()),
    }
