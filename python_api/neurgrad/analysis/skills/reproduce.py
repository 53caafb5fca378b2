"""The paper's skill tables and figures for some tasks: CSV, PNG and a page.

Every artefact is computed for both schemes of splits and shows them side by side, so that what the
leak of the published ones does to each probe is visible.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from neurgrad.analysis.page import STYLE
from neurgrad.analysis.skills import accuracy, efficiency, forests, robustness, signs, substitution
from neurgrad.analysis.skills.gather import Scheme, TaskFeatures, gather
from neurgrad.mceval8k import PAWS_CONTEXTS, TASKS, find, load, prompts
from neurgrad.runs.files import replace_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from negkernel import Engine

SHORT_TRAIN = 1024  # training prompts of Table 4
SHOWN = 40  # rows of a table that the page shows whole
SIZED = 48  # prompts whose gradients are read again for their size


@dataclass
class Study:
    """What the artefacts share; features are collected when first asked for.

    Attributes
    ----------
    engine : negkernel.Engine
    tasks : list of str
    folder : Path
        Holds the feature stores.
    schemes : list of {"clean", "published"}
    shots : list of int
        0 for none; -1 for one demonstration a label, the paper's few-shot setting.
    limit : int, optional
        Most training prompts.
    root : path, optional
        Of the data.
    labels : list of str, optional
        Target strings of all tasks, where the tokenizer splits the tasks' own.
    report : callable, optional
        Called with the number of prompts of each collected batch.
    """

    engine: Engine
    tasks: Sequence[str]
    folder: Path
    schemes: Sequence[Scheme] = ("clean", "published")
    shots: Sequence[int] = (0,)
    limit: int | None = None
    root: str | Path | None = None
    labels: Sequence[str] = ()
    report: Callable[[int], object] | None = None
    _kept: dict[tuple, TaskFeatures] = field(default_factory=dict, repr=False)

    def features(
        self, task: str, scheme: Scheme, shots: int, context: str | None = None
    ) -> TaskFeatures:
        """Features of one task, collected or read once."""
        shots = len(find(task).labels) if shots < 0 else shots
        key = task, scheme, shots, context
        if key not in self._kept:
            self._kept[key] = gather(
                self.engine,
                task,
                self.folder,
                splits=scheme,
                shots=shots,
                limit=self.limit,
                root=self.root,
                context=context,
                labels=self.labels,
                report=self.report,
            )
        return self._kept[key]

    def each(
        self, compute: Callable[[TaskFeatures], pd.DataFrame], shots: Sequence[int] | None = None
    ) -> pd.DataFrame:
        """Frames of all tasks, schemes and shots, one below the other."""
        wanted = self.shots if shots is None else shots
        frames = [
            compute(self.features(task, scheme, few))
            for task in self.tasks
            for few in wanted
            for scheme in self.schemes
        ]
        return pd.concat(frames, ignore_index=True)

    def contexts(self) -> pd.DataFrame:
        """Robustness over the paws contexts, whatever the tasks of the study are."""
        found = {
            name: self.features("paws", self.schemes[0], PAWS_CONTEXTS[name].shots, name)
            for name in PAWS_CONTEXTS
        }
        return robustness.across_contexts(found)

    def sizes(self) -> pd.DataFrame:
        """Few-shot against zero-shot gradients of each task's first test prompts."""
        frames = []
        for task in self.tasks:
            data = load(task, self.schemes[0], self.root)
            zero, few = (
                prompts(data, shots=n, labels=self.labels).test[:SIZED]
                for n in (0, len(data.task.labels))
            )
            frame = signs.few_against_zero(self.engine, few, zero)
            frame.insert(0, "task", task)
            frames.append(frame)
        return pd.concat(frames, ignore_index=True)


def _draw_first_tree(study: Study) -> Figure:
    features = study.features(study.tasks[0], study.schemes[0], study.shots[0])
    return forests.draw_tree(features, study.engine.n_neurons)


Compute = Callable[[Study], pd.DataFrame]
Draw = Callable[[pd.DataFrame], "Figure"]

# Name -> title, frame, figure of the frame (None: a table only).
ARTEFACTS: dict[str, tuple[str, Compute, Draw | None]] = {
    "table3": (
        "Accuracy of probes and baselines",
        lambda study: study.each(accuracy.by_probe),
        accuracy.draw,
    ),
    "table4": (
        f"Accuracy with {SHORT_TRAIN:,} training prompts",
        lambda study: study.each(partial(accuracy.by_probe, n_train=SHORT_TRAIN)),
        accuracy.draw,
    ),
    "table8": (
        "Zero-shot accuracy and neurons by task",
        lambda study: study.each(accuracy.by_probe, shots=[0]),
        accuracy.draw,
    ),
    "table9": (
        "Few-shot accuracy and neurons by task",
        lambda study: study.each(accuracy.by_probe, shots=[-1]),
        accuracy.draw,
    ),
    "fig6": (
        "Accuracy against neurons",
        lambda study: study.each(efficiency.by_size),
        efficiency.draw,
    ),
    "fig6-train": (
        "Accuracy against training prompts",
        lambda study: study.each(efficiency.by_training_size),
        efficiency.draw,
    ),
    "fig7": ("Robustness across paws contexts", Study.contexts, robustness.draw),
    "fig8": (
        "Substitutability of neurons",
        lambda study: study.each(substitution.by_window),
        substitution.draw,
    ),
    "fig9": ("Trees and depth", lambda study: study.each(forests.by_shape), forests.draw),
    "signs": ("Opposite signs of two labels", lambda study: study.each(signs.opposite), None),
    "magnitude": ("Few-shot against zero-shot gradients", Study.sizes, None),
}
TREE = "fig15"  # a picture without a table


def reproduce(study: Study, names: Sequence[str], folder: str | Path) -> Path:
    """Compute artefacts and write ``NAME.csv``, ``NAME.png`` and ``index.html``.

    Parameters
    ----------
    names : list of str
        Keys of :data:`ARTEFACTS`, "fig15" (one drawn tree) or "all" (without fig7, which is
        about paws alone).

    Returns
    -------
    Path
        The page.

    Raises
    ------
    ValueError
        An unknown name or task, or what :func:`neurgrad.features.collect` refuses.
    """
    wanted = chosen(names)
    for task in study.tasks:
        find(task)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    sections = []
    for name in wanted:
        if name == TREE:
            picture = folder / f"{name}.png"
            replace_file(picture, partial(_draw_first_tree(study).savefig, dpi=150))
            sections.append(_section(name, "One tree of Tree-Probe", True, None))
            continue
        title, compute, draw = ARTEFACTS[name]
        frame = compute(study)
        replace_file(folder / f"{name}.csv", partial(frame.to_csv, index=False))
        if draw is not None:
            replace_file(folder / f"{name}.png", partial(draw(frame).savefig, dpi=150))
        table = accuracy.side_by_side(frame) if name.startswith("table") else frame
        sections.append(_section(name, title, draw is not None, table))
    page = folder / "index.html"
    text = _page(study, sections)
    replace_file(page, lambda path: path.write_text(text, encoding="utf-8"))
    return page


def chosen(names: Sequence[str]) -> list[str]:
    """Resolve names and "all", each once, in the order of :data:`ARTEFACTS`.

    Raises
    ------
    ValueError
        A name that is none of these.
    """
    known = [*ARTEFACTS, TREE]
    for name in names:
        if name != "all" and name not in known:
            raise ValueError(f"{name!r} is not an artefact; expected all or {', '.join(known)}")
    everything = [name for name in known if name != "fig7"] if "all" in names else []
    return [name for name in known if name in names or name in everything]


def _section(name: str, title: str, picture: bool, table: pd.DataFrame | None) -> str:
    parts = [f"<section><h2>{name}: {escape(title)}</h2>"]
    if picture:
        parts.append(f"<img src='{name}.png' alt='{escape(title)}'>")
    if table is not None:
        if len(table) <= SHOWN:
            parts.append(
                table.to_html(index=False, border=0, float_format="{:.4g}".format, na_rep="")
            )
        parts.append(f"<p><a href='{name}.csv'>{name}.csv</a></p>")
    return "\n".join([*parts, "</section>"])


def _page(study: Study, sections: Sequence[str]) -> str:
    papers = ", ".join(TASKS[name].paper for name in study.tasks)
    return "\n".join(
        [
            "<!doctype html><html lang='en'><meta charset='utf-8'>",
            f"<title>Skill neurons</title><style>{STYLE}</style>",
            f"<h1>Skill neurons</h1><p>{escape(repr(study.engine))}</p><p>Tasks: {papers}.</p>",
            "<p>The published splits of most tasks leak: test or validation rows stand in train, "
            "and a forest of unlimited depth knows its training rows by heart. Accuracies on the "
            "clean splits are the ones that generalise.</p>",
            *sections,
            "",
        ]
    )
