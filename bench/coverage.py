"""Try every causal and masked type of transformers: the engine against plain forwards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
)

import negkernel
from bench.opponents.plain import Plain
from bench.registry import Settings
from bench.report import Record, Value
from bench.tiny import build
from bench.tiny_fixed import FIXED

MASK, TARGET = 5, 17
PROMPTS = {
    "causal": [[11, 45, 23, 67, 90, 31, 77, 54, 18], [61, 12, 33, 84, 7, 19]],
    "masked": [[11, 45, 23, MASK, 90, 31, 77, 54, 18], [61, 12, MASK, 84, 7, 19]],
}
SHIFTS = [-2.0, 0.5, 3.0]
# float32 forwards of other batch sizes differ by a few 1e-6 of the largest change.
BUDGET = 2e-4
QUICK = [("llama", "causal"), ("gpt_oss", "causal"), ("albert", "masked"), ("funnel", "masked")]
TYPES = [(one, "causal") for one in sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)] + [
    (one, "masked") for one in sorted(MODEL_FOR_MASKED_LM_MAPPING_NAMES)
]


class MaskTokenizer:
    """What the engine asks of a masked model's tokenizer where prompts are token ids."""

    mask_token_id, mask_token, bos_token_id, eos_token_id = MASK, "[MASK]", None, None

    def decode(self, ids: list[int]) -> str:
        """Show ids as they are."""
        return str(ids)


@dataclass(frozen=True)
class Verdict:
    """How one type fared.

    Attributes
    ----------
    outcome : str
        "right" or "wrong"; "refused" with the engine's ``reason``; "raised" where it failed
        otherwise; "not shown" where no shift does anything; "not built" where transformers makes
        no model of a few thousand weights, or none that runs on token ids alone.
    method : str
        What "auto" took.
    error : float
        Largest difference of a change of log p, over the largest such change where that is over 1.
    neurons : str
        Layers and the neurons of each.
    """

    outcome: str
    method: str = ""
    error: float | None = None
    neurons: str = ""
    reason: str = ""


def run(settings: Settings) -> list[Record]:
    """Sweep two neurons of each layer of every type by what "auto" takes; the last line counts."""
    chosen = [one for one in TYPES if one in QUICK] if settings.quick else TYPES
    found = {one: verdict(*one) for one in chosen}
    records = [
        Record(model_type, task, _measures(one), one.reason)
        for (model_type, task), one in found.items()
    ]
    counts = Counter(one.outcome for one in found.values())
    total = ", ".join(f"{count} {outcome}" for outcome, count in counts.most_common())
    return [*records, Record(f"{len(found)} types", "all", _measures(Verdict(total)))]


def _measures(found: Verdict) -> dict[str, Value]:
    return {
        "outcome": found.outcome,
        "method": found.method,
        "error": found.error,
        "neurons": found.neurons,
    }


def verdict(model_type: str, task: str, method: str = "auto") -> Verdict:
    """Build a tiny model and hold the engine's sweep against plain forwards."""
    try:
        model = build(model_type, task, FIXED.get(model_type, {}))
        for prompt in PROMPTS[task]:
            Plain(model, *_probed(prompt, task))
    except Exception as error:  # whatever transformers says of a model it cannot make or run
        return Verdict("not built", reason=_line(error))
    try:
        engine = negkernel.Engine(model, MaskTokenizer(), task=task)
        return _compared(engine, list(_asked(engine, model, task)), method)
    except (NotImplementedError, ValueError) as error:
        return Verdict("refused", reason=_line(error))
    except Exception as error:
        return Verdict("raised", reason=f"{type(error).__name__}: {_line(error)}")


def _probed(ids: list[int], task: str) -> tuple[list[int], int]:
    return ids, ids.index(MASK) if task == "masked" else len(ids) - 1


def _line(error: Exception) -> str:
    return str(error).replace("\n", " ")[:200]


def _asked(engine: Any, model: Any, task: str) -> Iterator[tuple[int, int, Any]]:
    """(layer, index, place) of two neurons of each layer, such that shifts of them matter."""
    plain = Plain(model, *_probed(PROMPTS[task][0], task))
    places = plain.neurons()
    widths = {layer: place.width for layer, place in places.items()}
    own = {layer: width for layer, width in enumerate(engine.widths.tolist()) if width}
    if not widths.items() <= own.items():
        raise AssertionError(f"plain forwards show layers of {widths}, not {own}")
    drawn = np.random.default_rng(0)
    for layer, place in places.items():
        kept = 0
        for index in drawn.permutation(place.width).tolist():
            change = plain.changes(place, index, [3.0], TARGET)
            if kept < 2 and (change != 0).any():
                kept += 1
                yield layer, index, place
            if kept == 2:
                break


def _compared(engine: Any, asked: list[tuple[int, int, Any]], method: str) -> Verdict:
    """Sweep the neurons ``asked`` and hold them against plain forwards of every prompt."""
    prompts = PROMPTS[engine.task]
    neurons = [(layer, index) for layer, index, _ in asked]
    sweep = engine.sweep(prompts, [TARGET] * len(prompts), neurons, SHIFTS, method=method)
    worst, largest, off = 0.0, 0.0, 0.0
    for p, prompt in enumerate(prompts):
        plain = Plain(engine.model, *_probed(prompt, engine.task))
        for n, (_, index, place) in enumerate(asked):
            right = plain.changes(place, index, SHIFTS, TARGET)
            error = float(np.abs(sweep.logprob_shift[p, n] - right).max())
            size = float(np.abs(right).max())
            worst, largest, off = (
                max(worst, error / max(1.0, size)),
                max(largest, size),
                max(off, error),
            )
    if not worst <= BUDGET:
        return Verdict("wrong", sweep.method, worst, _sizes(engine))
    if largest < 1000 * off:
        reason = "no shift changes the target's probability enough to tell right from wrong"
        return Verdict("not shown", sweep.method, worst, _sizes(engine), reason)
    return Verdict("right", sweep.method, worst, _sizes(engine))


def _sizes(engine: Any) -> str:
    widths = list(dict.fromkeys(int(width) for width in engine.widths))
    return f"{engine.n_layers} x {' or '.join(map(str, widths))}"
