"""How far attribution patching, the first-order estimate, is from exact activation patching.

Every neuron of a model takes the value it has on a source prompt, one at a time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

from bench.registry import Settings
from bench.report import Record, Value
from negkernel import Engine, Patches
from neurgrad import demo, real

# Prompt, source, and the word that the prompt is completed with.
FACTS = [
    ("The capital of France is", "The capital of Albania is", "Paris"),
    ("The capital of Japan is", "The capital of Italy is", "Tokyo"),
]
NAMES = [
    (
        "When Mary and John went to the store, John gave a drink to",
        "When Mary and John went to the store, Mary gave a drink to",
        "Mary",
    ),
    ("The capital of France is the city of", "The capital of Italy is the city of", "Paris"),
]
FEW, MANY = 10, 100


def run(settings: Settings) -> list[Record]:
    """Patch all neurons of the embedded causal model, and of a real one where it is prepared."""
    records = list(_patching("embedded", demo.load("causal"), FACTS[: 1 if settings.quick else 2]))
    if settings.quick:
        return records
    if real.is_prepared("smollm2"):
        return [*records, *_patching("SmolLM2-135M", real.load("smollm2"), NAMES)]
    nothing: dict[str, Value] = dict.fromkeys(records[0].measures)
    return [*records, Record("SmolLM2-135M", "all neurons", nothing, "`make real` prepares it")]


def _patching(name: str, engine: Engine, pairs: list[tuple[str, str, str]]) -> Iterator[Record]:
    for prompt, source, target in pairs:
        start = time.process_time()
        found = engine.patch([prompt], [source], [target])
        measures = _compared(found)
        measures["cpu_seconds"] = time.process_time() - start
        yield Record(name, f"{len(found.neurons)} neurons", measures, f"{prompt} [{target}]")


def _compared(found: Patches) -> dict[str, Value]:
    exact, estimate = found.logprob_shift[0], found.logprob_estimate[0]
    by_exact, by_estimate = (np.argsort(-np.abs(values)) for values in (exact, estimate))
    top = by_exact[:MANY]
    return {
        "probability": float(np.exp(found.base_logprob[0])),
        "correlation": float(np.corrcoef(exact, estimate)[0, 1]),
        "signs": float(np.mean(np.sign(exact[top]) == np.sign(estimate[top]))),
        "found_of_10": len(set(by_exact[:FEW]) & set(by_estimate[:FEW])),
        "found_of_100": len(set(top) & set(by_estimate[:MANY])),
        "median_error": float(np.median(np.abs(estimate - exact)[top] / np.abs(exact)[top])),
        "largest": float(np.abs(exact).max()),
    }
