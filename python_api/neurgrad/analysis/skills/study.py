"""What the skill artefacts share: a model, tasks, and features collected when first asked for."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from neurgrad.analysis.page import origin
from neurgrad.analysis.skills import accuracy, light, robustness, signs
from neurgrad.analysis.skills.cautions import cautions
from neurgrad.analysis.skills.gather import Scheme, TaskFeatures, asked, gather
from neurgrad.mceval8k import PAWS_CONTEXTS, find, load
from neurgrad.mceval8k.overlap import overlaps

if TYPE_CHECKING:
    from negkernel import Engine

log = logging.getLogger(__name__)

ACCURACIES = ("table3", "table4", "table8", "table9")
SIZED = 48  # prompts whose gradients are read again for their size


@dataclass
class TaskStudy:
    """Features of some tasks under both schemes of splits.

    Attributes
    ----------
    engine : negkernel.Engine
    tasks : list of str
    folder : Path
        Holds the feature stores.
    schemes : list of {"clean", "published"}
    shots : list of int
        0 for none; -1 for one demonstration a label, the paper's few-shot setting.
    limit, test_limit : int, optional
        Most training prompts, and most test prompts.
    root : path, optional
        Of the data.
    labels : list of str, optional
        Target strings of all tasks, where the tokenizer splits the tasks' own.
    light : bool
        Keep no features: accuracies only, without Act-Probe and Tree-Probe.
    report : callable, optional
        Called with the number of prompts of each batch that was read.
    """

    engine: Engine
    tasks: Sequence[str]
    folder: Path
    schemes: Sequence[Scheme] = ("clean", "published")
    shots: Sequence[int] = (0,)
    limit: int | None = None
    test_limit: int | None = None
    root: str | Path | None = None
    labels: Sequence[str] = ()
    light: bool = False
    report: Callable[[int], object] | None = None
    _kept: dict[tuple, TaskFeatures] = field(default_factory=dict, repr=False)

    title = "Skill neurons"

    def facts(self) -> dict[str, Any]:
        """Return what the page says of the study."""
        return {
            **origin(self.engine),
            "Tasks": ", ".join(find(task).paper for task in self.tasks),
            "Splits": "The published splits of most tasks leak: test or validation rows stand in "
            "train, and a forest of unlimited depth knows its training rows by heart. Accuracies "
            "on the clean splits are the ones that generalise.",
            "Intervals": "95 %, Wilson's, over test prompts",
        }

    def remarks(self, frames: Mapping[str, pd.DataFrame]) -> list[str]:
        """Return what to beware of in the accuracies."""
        return [line for name in ACCURACIES if name in frames for line in cautions(frames[name])]

    def stated(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Add the site whose gradients the features are."""
        return frame.assign(site=self.engine.site)

    def features(
        self, task: str, scheme: Scheme, shots: int, context: str | None = None
    ) -> TaskFeatures:
        """Features of one task, collected or read once."""
        key = task, scheme, shots, context
        if key not in self._kept:
            self._kept[key] = gather(
                self.engine,
                task,
                self.folder,
                splits=scheme,
                shots=shots,
                limit=self.limit,
                test_limit=self.test_limit,
                root=self.root,
                context=context,
                labels=self.labels,
                report=self.report,
            )
        return self._kept[key]

    def schemes_of(self, task: str) -> list[Scheme]:
        """Schemes of which a task has all three splits: a published file may be missing.

        Raises
        ------
        ValueError
            None is left.
        """
        found: list[Scheme] = []
        for scheme in self.schemes:
            data = load(task, scheme, self.root)
            if data.train and data.valid and data.test:
                found.append(scheme)
            else:
                log.warning("%s has no %s splits here: %s", task, scheme, ", ".join(data.missing))
        if not found:
            raise ValueError(
                f"task {task!r} lacks files of its {' and '.join(self.schemes)} splits; clean "
                "ones need only one of the three"
            )
        return found

    def each(
        self, compute: Callable[[TaskFeatures], pd.DataFrame], shots: Sequence[int] | None = None
    ) -> pd.DataFrame:
        """Frames of all tasks, schemes and shots, one below the other."""
        return self._concat(
            lambda task, scheme, few: compute(self.features(task, scheme, few)), shots
        )

    def accuracies(
        self, *, n_train: int | None = None, shots: Sequence[int] | None = None
    ) -> pd.DataFrame:
        """Accuracy of every probe, or in light mode of those that need no store.

        Returns
        -------
        DataFrame
            Those of :func:`neurgrad.analysis.skills.accuracy.by_probe`, with ``valid_in_test``:
            validation records that are test records too, on which sizes were chosen.
        """

        def measured(task: str, scheme: Scheme, few: int) -> pd.DataFrame:
            shared = overlaps(load(task, scheme, self.root))["record_valid_in_test"]
            if self.light:
                prompts = self._asked(task, scheme, few)
                prompts["train"] = prompts["train"][:n_train]
                key = {"task": task, "splits": scheme, "shots": few}
                frame = light.by_probe(self.engine, prompts, key, report=self.report)
            else:
                frame = accuracy.by_probe(self.features(task, scheme, few), n_train=n_train)
            frame = frame.assign(valid_in_test=shared)
            for line in cautions(frame):
                log.warning("%s", line)
            return frame

        return self._concat(measured, shots)

    def contexts(self) -> pd.DataFrame:
        """Robustness over the paws contexts, whatever the tasks of the study are."""
        frames = [
            robustness.across_contexts(
                {
                    name: self.features("paws", scheme, context.shots, name)
                    for name, context in PAWS_CONTEXTS.items()
                }
            )
            for scheme in self.schemes_of("paws")
        ]
        return pd.concat(frames, ignore_index=True)

    def signs(self) -> pd.DataFrame:
        """Opposite signs and correlation of the first two labels' gradients."""

        def both(task: str, scheme: Scheme, few: int) -> pd.DataFrame:
            found = signs.opposite(self.features(task, scheme, few))
            some = self._asked(task, scheme, few)["test"][:SIZED]
            return found.assign(correlation=signs.magnitudes(self.engine, some)["correlation"])

        return self._concat(both, None)

    def sizes(self) -> pd.DataFrame:
        """Few-shot against zero-shot gradients of each task's first test prompts."""

        def compare(task: str, scheme: Scheme, _: int) -> pd.DataFrame:
            zero, few = (
                self._asked(task, scheme, shots)["test"][:SIZED]
                for shots in (0, _one_a_label(task))
            )
            frame = signs.few_against_zero(self.engine, few, zero)
            return pd.concat([pd.DataFrame({"task": task, "splits": [scheme] * 2}), frame], axis=1)

        return self._concat(compare, [0])

    def _asked(self, task: str, scheme: Scheme, shots: int) -> dict:
        return asked(
            task,
            splits=scheme,
            shots=shots,
            limit=self.limit,
            test_limit=self.test_limit,
            root=self.root,
            labels=self.labels,
        )

    def _concat(
        self, compute: Callable[[str, Scheme, int], pd.DataFrame], shots: Sequence[int] | None
    ) -> pd.DataFrame:
        wanted = self.shots if shots is None else shots
        frames = [
            compute(task, scheme, few)
            for task in self.tasks
            for few in dict.fromkeys(_one_a_label(task) if n < 0 else n for n in wanted)
            for scheme in self.schemes_of(task)
        ]
        return pd.concat(frames, ignore_index=True)


def _one_a_label(task: str) -> int:
    return len(find(task).labels)
