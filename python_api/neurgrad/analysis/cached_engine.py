"""Keep what an engine has answered, so that an interrupted study repeats next to nothing.

A study asks about all of its prompts at once. Here such a call is split: the answer for every few
prompts is one file with a checksum, and a file that is there already is read instead of computed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from negkernel import (
    DirectionGradients,
    Directions,
    Engine,
    Gradients,
    Intervention,
    Interventions,
    Sweep,
)
from negkernel.results import storage
from negkernel.results.files import Writer
from negkernel.results.join import join_prompts
from negkernel.results.ledger import Ledger

PROMPTS = 8  # of one file: enough rows to fill the engine's batches, few to be lost

Answer = TypeVar("Answer")


class CachedEngine(Engine):
    """Like ``plain``, with sweeps, interventions, gradients and LPI kept in a ledger.

    Parameters
    ----------
    plain : negkernel.Engine
        Who computes.
    ledger : Ledger
        Of this model's answers.
    """

    def __init__(self, plain: Engine, ledger: Ledger):
        super().__init__(plain.model, plain.tokenizer, task=plain.task)
        self._host = plain._host  # what is known of the model, and found out, is shared
        self.plain = plain
        self._ledger = ledger

    def sweep(
        self, prompts: Any, targets: Any, neurons: Any, shifts: Any = None, **how: Any
    ) -> Sweep:
        """See :meth:`negkernel.Engine.sweep`."""
        pairs: Any = neurons if isinstance(neurons, Directions) else np.asarray(neurons)
        each = isinstance(pairs, np.ndarray) and pairs.ndim == 3
        own = list(pairs) if each else [pairs] * len(prompts)

        def compute(few: slice) -> Sweep:
            chosen = pairs[few] if each else pairs
            return self.plain.sweep(prompts[few], targets[few], chosen, shifts, **how)

        asked = ["sweep", None if shifts is None else np.asarray(shifts), how]
        return join_prompts(self._results(Sweep, asked, [prompts, targets, own], compute))

    def intervene(
        self, prompts: Any, targets: Any, interventions: Any, **how: Any
    ) -> Interventions:
        """See :meth:`negkernel.Engine.intervene`."""
        shared = not interventions or isinstance(interventions[0], Intervention)
        lists = [interventions] * len(prompts) if shared else interventions

        def compute(few: slice) -> Interventions:
            return self.plain.intervene(prompts[few], targets[few], lists[few], **how)

        asked = ["intervene", how]
        return join_prompts(self._results(Interventions, asked, [prompts, targets, lists], compute))

    def gradients(self, prompts: Any, targets: Any, neurons: Any = None, **how: Any) -> Gradients:
        """See :meth:`negkernel.Engine.gradients`."""

        def compute(few: slice) -> Gradients:
            return self.plain.gradients(prompts[few], targets[few], neurons, **how)

        kind = Gradients if neurons is None else DirectionGradients
        asked = ["gradients", how, neurons]
        return join_prompts(self._results(kind, asked, [prompts, targets], compute))

    def path_gradients(self, prompts: Any, targets: Any, scales: Any, **how: Any) -> Gradients:
        """See :meth:`negkernel.Engine.path_gradients`."""

        def compute(few: slice) -> Gradients:
            return self.plain.path_gradients(prompts[few], targets[few], scales, **how)

        asked = ["path_gradients", np.asarray(scales), how]
        return join_prompts(self._results(Gradients, asked, [prompts, targets], compute))

    def direct_effects(self, prompts: Any, targets: Any, **how: Any) -> np.ndarray:
        """See :meth:`negkernel.Engine.direct_effects`."""

        def compute(few: slice) -> np.ndarray:
            return self.plain.direct_effects(prompts[few], targets[few], **how)

        def save(increase: np.ndarray, path: Path) -> None:
            storage.write(path, "direct effects", {"increase": increase}, {})

        def load(path: Path) -> np.ndarray:
            return storage.read(path, "direct effects")[0]["increase"]

        asked = ["direct_effects", how]
        return np.concatenate(self._parts(asked, [prompts, targets], compute, save, load))

    def _results(
        self,
        kind: Any,
        asked: list[Any],
        by_prompt: list[Sequence[Any]],
        compute: Callable[[slice], Any],
    ) -> list[Any]:
        """Answers that are results of the engine."""
        return self._parts(asked, by_prompt, compute, kind.save, kind.load)

    def _parts(
        self,
        asked: list[Any],
        by_prompt: list[Sequence[Any]],
        compute: Callable[[slice], Answer],
        save: Callable[[Answer, Path], None],
        load: Callable[[Path], Answer],
    ) -> list[Answer]:
        """Answer for every few prompts, from its file where that is whole.

        Parameters
        ----------
        asked : list
            What all prompts share.
        by_prompt : list of sequences
            What each prompt has of its own, prompts first.
        """
        parts: list[tuple[str, slice]] = []
        for first in range(0, len(by_prompt[0]), PROMPTS):
            few = slice(first, first + PROMPTS)
            parts.append((_digest([asked, [own[few] for own in by_prompt]]), few))
        few_of = dict(parts)

        def answer(part: str) -> dict[str, Writer]:
            found = compute(few_of[part])
            return {".safetensors": lambda path: save(found, path)}

        for _ in self._ledger.share(few_of, answer):
            pass
        return [load(self._ledger.path(part)) for part, _ in parts]


def _digest(asked: Any) -> str:
    return hashlib.sha256(json.dumps(asked, default=_plain).encode()).hexdigest()


def _plain(value: Any) -> Any:
    """Say a value in JSON that names it: arrays by their numbers, interventions by their parts."""
    if isinstance(value, np.ndarray):
        content = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
        return [str(value.dtype), list(value.shape), content]
    if isinstance(value, Intervention | Directions):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    return value.item()
