"""The paper's skill tables and figures: what each is computed from and how it is shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING

import pandas as pd

from neurgrad.analysis.skills import accuracy, efficiency, forests, robustness, signs, substitution
from neurgrad.analysis.skills.study import Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHORT_TRAIN = 1024  # training prompts of Table 4


@dataclass(frozen=True)
class Artefact:
    """One table or figure.

    Attributes
    ----------
    title : str
    compute : callable
        Study -> tidy frame with a column ``splits``.
    draw : callable
        Frame -> figure.
    keys, values : list of str
        Columns that name a row of the page, and those that it shows for each scheme of splits.
    light : bool
        Whether it can be had without keeping features.
    """

    title: str
    compute: Callable[[Study], pd.DataFrame]
    draw: Callable[[pd.DataFrame], Figure]
    keys: Sequence[str]
    values: Sequence[str]
    light: bool = False


def _accuracy(title: str, compute: Callable[[Study], pd.DataFrame]) -> Artefact:
    keys, values = ("task", "shots", "probe"), ("n_neurons", "test")
    return Artefact(title, compute, accuracy.draw, keys, values, light=True)


def _one_tree(study: Study) -> pd.DataFrame:
    """The tree of the first task, for the first number of shots."""
    first = replace(study, tasks=study.tasks[:1])
    return first.each(lambda found: forests.by_node(found, study.engine.neurons), study.shots[:1])


ARTEFACTS: dict[str, Artefact] = {
    "table3": _accuracy("Accuracy of probes and baselines", Study.accuracies),
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
        "Accuracy against neurons",
        lambda study: study.each(efficiency.by_size),
        efficiency.draw,
        ("task", "shots", "probe", "n_neurons"),
        ("test",),
    ),
    "fig6-train": Artefact(
        "Accuracy against training prompts",
        lambda study: study.each(efficiency.by_training_size),
        efficiency.draw,
        ("task", "shots", "probe", "train"),
        ("test",),
    ),
    "fig7": Artefact(
        "Robustness across paws contexts",
        Study.contexts,
        robustness.draw,
        ("found_in", "used_in"),
        ("test", "robustness"),
    ),
    "fig8": Artefact(
        "Substitutability of neurons",
        lambda study: study.each(substitution.by_window),
        substitution.draw,
        ("task", "shots", "first"),
        ("test",),
    ),
    "fig9": Artefact(
        "Trees and depth",
        lambda study: study.each(forests.by_shape),
        forests.draw,
        ("task", "shots", "trees", "depth"),
        ("train", "test"),
    ),
    "fig15": Artefact(
        "One tree of Tree-Probe",
        _one_tree,
        forests.draw_tree,
        ("task", "shots", "node"),
        ("asks", "label", "share"),
    ),
    "signs": Artefact(
        "Opposite signs and correlation of the first two labels",
        Study.signs,
        signs.draw,
        ("task", "shots"),
        ("opposite", "correlation"),
    ),
    "magnitude": Artefact(
        "Few-shot against zero-shot gradients",
        Study.sizes,
        signs.draw_sizes,
        ("task", "prompts"),
        ("magnitude", "correlation", "ratio"),
        light=True,
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
    can = [name for name, artefact in ARTEFACTS.items() if artefact.light or not light]
    for name in names:
        if name != "all" and name not in ARTEFACTS:
            close = get_close_matches(name, ARTEFACTS, n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            raise ValueError(
                f"{name!r} is not an artefact: {hint}expected all or {', '.join(ARTEFACTS)}"
            )
        if name != "all" and name not in can:
            raise ValueError(f"{name!r} needs kept features; light mode has {', '.join(can)}")
    everything = [name for name in can if name != "fig7"] if "all" in names else []
    return [name for name in can if name in names or name in everything]
