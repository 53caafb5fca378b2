"""Features of a task's three splits, collected where they are missing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from neurgrad.features import FeatureStore, PackedScores, collect_prompts, task_prompts

if TYPE_CHECKING:
    from negkernel import Engine
    from neurgrad.mceval8k import Prompt

Scheme = Literal["clean", "published"]
Split = Literal["train", "valid", "test"]


@dataclass(frozen=True)
class Part:
    """One split in memory.

    Attributes
    ----------
    scores : PackedScores [Q, K, N]
    gold : int array [Q]
    probability : float32 array [Q, K]
    activation : float32 array [Q, N]
    """

    scores: PackedScores
    gold: NDArray[np.int64]
    probability: NDArray[np.float32]
    activation: NDArray[np.float32]

    def first(self, n: int) -> Part:
        """Return the first `n` prompts."""
        few = slice(n)
        return Part(self.scores[few], self.gold[few], self.probability[few], self.activation[few])


@dataclass(frozen=True)
class TaskFeatures:
    """The three splits of one task under one scheme and number of shots."""

    task: str
    splits: Scheme
    shots: int
    train: Part
    valid: Part
    test: Part

    @property
    def chance(self) -> float:
        """1 / K."""
        return 1 / self.train.scores.n_labels

    @property
    def key(self) -> dict[str, Any]:
        """Columns that every frame begins with."""
        return {"task": self.task, "splits": self.splits, "shots": self.shots}


def asked(
    task: str,
    *,
    splits: Scheme = "clean",
    shots: int = 0,
    limit: int | None = None,
    test_limit: int | None = None,
    root: str | Path | None = None,
    context: str | None = None,
    labels: Sequence[str] = (),
) -> dict[Split, tuple[Prompt, ...]]:
    """Prompts of a task's three splits, by the split's name.

    Parameters
    ----------
    limit : int, optional
        Most training prompts; validation takes a sixth of it, as the clean splits do.
    test_limit : int, optional
        Most test prompts; by default all, whatever `limit` is.
    context : str, optional
        For paws a name of :data:`neurgrad.mceval8k.PAWS_CONTEXTS`.
    labels : list of str, optional
        Target strings instead of the task's own, where the tokenizer splits those.
    """
    written = task_prompts(task, splits, root, shots=shots, context=context, labels=tuple(labels))
    few = None if limit is None else max(1, limit // 6)
    return {
        "train": written.train[:limit],
        "valid": written.valid[:few],
        "test": written.test[:test_limit],
    }


def gather(
    engine: Engine,
    task: str,
    folder: str | Path,
    *,
    splits: Scheme = "clean",
    shots: int = 0,
    limit: int | None = None,
    test_limit: int | None = None,
    context: str | None = None,
    report: Callable[[int], object] | None = None,
    **asking: Any,
) -> TaskFeatures:
    """Collect, or read, the features of a task.

    Parameters
    ----------
    folder : path
        Stores are kept below it, one folder a task, scheme, number of shots and split.
    splits, shots, limit, test_limit, context, **asking
        As in :func:`asked`.
    report : callable, optional
        Called with the number of prompts of each collected batch.

    Raises
    ------
    ValueError
        As :func:`neurgrad.features.collect`.
    """
    size = "" if limit is None else f"-first-{limit}"
    name = f"{task}-{splits}-{shots}-shot{'' if context is None else f'-{context}'}{size}"
    written = asked(
        task,
        splits=splits,
        shots=shots,
        limit=limit,
        test_limit=test_limit,
        context=context,
        **asking,
    )
    parts: dict[str, Part] = {}
    for split, prompts in written.items():
        some = "" if split != "test" or test_limit is None else f"-first-{test_limit}"
        store = collect_prompts(
            engine, prompts, Path(folder) / name / f"{split}{some}", activations=True, report=report
        )
        parts[split] = _read(store)
    return TaskFeatures(task, splits, shots, **parts)


def _read(store: FeatureStore) -> Part:
    return Part(store.load(), store.gold, store.probability, store.activation())


def powers(most: int) -> tuple[int, ...]:
    """1, 2, 4, ... up to `most`."""
    return tuple(2**power for power in range(most.bit_length()))
