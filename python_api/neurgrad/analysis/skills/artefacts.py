"""The paper's skill tables and figures: what each is computed from and how it is shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pandas as pd

from neurgrad.analysis import artefacts
from neurgrad.analysis.artefacts import Artefact
from neurgrad.analysis.paper import CITED
from neurgrad.analysis.skills import accuracy, efficiency, forests, robustness, signs, substitution
from neurgrad.analysis.skills.study import TaskStudy

SHORT_TRAIN = 1024  # training prompts of Table 4


def _accuracy(title: str, compute: Callable[[TaskStudy], pd.DataFrame]) -> Artefact:
    keys, values = (
        ("task", "shots", "probe"),
        ("n_neurons", "test", "test_low", "test_high", "n_test"),
    )
    return Artefact(
        title=title, compute=compute, draw=accuracy.draw, keys=keys, values=values, light=True
    )


def _one_tree(study: TaskStudy) -> pd.DataFrame:
    """The tree of the first task, for the first number of shots."""
    first = replace(study, tasks=study.tasks[:1])
    return first.each(lambda found: forests.by_node(found, study.engine.neurons), study.shots[:1])


ARTEFACTS: dict[str, Artefact] = {
    "table3": _accuracy("Accuracy of probes and baselines", TaskStudy.accuracies),
    "table4": _accuracy(
        f"Accuracy with {SHORT_TRAIN:,} training prompts",
        lambda study: study.accuracies(n_train=SHORT_TRAIN),
    ),
    "table8": _accuracy(
        "Zero-shot accuracy and neurons by task", lambda study: study.accuracies(shots=[0])
    ),
    "table9": _accuracy(
        "Few-shot accuracy and neurons by task", lambda study: study.accuracies(shots=[-1])
    ),
    "fig6": Artefact(
        title="Accuracy against neurons",
        compute=lambda study: study.each(efficiency.by_size),
        draw=efficiency.draw,
        keys=("task", "shots", "probe", "n_neurons"),
        values=("test",),
    ),
    "fig6-train": Artefact(
        title="Accuracy against training prompts",
        compute=lambda study: study.each(efficiency.by_training_size),
        draw=efficiency.draw,
        keys=("task", "shots", "probe", "train"),
        values=("test",),
    ),
    "fig7": Artefact(
        title="Robustness across paws contexts",
        compute=TaskStudy.contexts,
        draw=robustness.draw,
        keys=("found_in", "used_in"),
        values=("test", "robustness"),
    ),
    "fig8": Artefact(
        title="Substitutability of neurons",
        compute=lambda study: study.each(substitution.by_window),
        draw=substitution.draw,
        keys=("task", "shots", "first"),
        values=("test",),
    ),
    "fig9": Artefact(
        title="Trees and depth",
        compute=lambda study: study.each(forests.by_shape),
        draw=forests.draw,
        keys=("task", "shots", "trees", "depth"),
        values=("train", "test"),
    ),
    "fig15": Artefact(
        title="One tree of Tree-Probe",
        compute=_one_tree,
        draw=forests.draw_tree,
        keys=("task", "shots", "node"),
        values=("asks", "label", "share"),
    ),
    "signs": Artefact(
        title="Opposite signs and correlation of the first two labels",
        compute=TaskStudy.signs,
        draw=signs.draw,
        keys=("task", "shots"),
        values=("opposite", "correlation"),
        cited=CITED["signs"],
    ),
    "magnitude": Artefact(
        title="Few-shot against zero-shot gradients",
        compute=TaskStudy.sizes,
        draw=signs.draw_sizes,
        keys=("task", "prompts"),
        values=("magnitude", "correlation", "ratio"),
        light=True,
        cited=CITED["magnitude"],
    ),
}


def chosen(names: Sequence[str], *, light: bool = False) -> list[str]:
    """Resolve names and "all" to keys of :data:`ARTEFACTS`, each once, in its order.

    Parameters
    ----------
    names : list of str
        "all" is everything but fig7, which is about paws alone.
    light : bool
        Only what needs no store.

    Raises
    ------
    ValueError
        A name that is none of these, or one that needs a store in light mode.
    """
    wanted = artefacts.chosen(names, ARTEFACTS, apart=["fig7"])
    can = [name for name, artefact in ARTEFACTS.items() if artefact.light or not light]
    for name in names:
        if name != "all" and name not in can:
            raise ValueError(f"{name!r} needs kept features; light mode has {', '.join(can)}")
    return [name for name in wanted if name in can]
