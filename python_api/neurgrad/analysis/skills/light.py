"""Accuracy without a store, for models too large to keep features of.

The training prompts are read once, and only each neuron's running sums of polarity and value
evidence stay; validation and test prompts are read once more, and only the chosen neurons of both
probes are looked at. Act-Probe and Tree-Probe need every prompt's features and are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from neurgrad.analysis.skills.accuracy import baselines, table
from neurgrad.features import stream
from neurgrad.features.askable import check_labels, check_length
from neurgrad.probes import MagnProbe, PolarProbe
from neurgrad.probes.ranking import PAPER_SIZES, check_sizes

if TYPE_CHECKING:
    from negkernel import Engine
    from neurgrad.mceval8k import Prompt


def by_probe(
    engine: Engine,
    prompts: Mapping[str, Sequence[Prompt]],
    key: Mapping[str, Any],
    *,
    report: Callable[[int], object] | None = None,
) -> pd.DataFrame:
    """Rank on "train", choose the size on "valid" and score on "test", keeping nothing.

    Parameters
    ----------
    prompts : mapping
        "train", "valid" and "test" -> prompts.
    key : mapping
        Columns that the frame begins with.
    report : callable, optional
        Called with the number of prompts of each batch that was read.

    Returns
    -------
    DataFrame
        That of :func:`neurgrad.analysis.skills.accuracy.by_probe`, the same to the last bit for
        the probes it has: Rand, LM-Prob, Polar and Magn.
    """
    everything = [one for part in prompts.values() for one in part]
    check_labels(engine, everything)
    check_length(engine, everything)
    gold = {name: np.array([one.gold for one in part]) for name, part in prompts.items()}
    most = min(PAPER_SIZES[-1], len(engine.neurons))
    probes = {"Polar": PolarProbe(most), "Magn": MagnProbe(most)}
    probability: dict[str, list[NDArray]] = {name: [] for name in prompts}
    for features in stream(engine, prompts["train"]):
        for probe in probes.values():
            probe.partial_fit(features.scores, gold["train"][features.rows])
        probability["train"].append(features.probability)
        _tell(report, features.rows)

    # Both probes' neurons are read together; `place` finds each probe's own among them.
    neurons = np.unique(np.concatenate([probe.neurons_ for probe in probes.values()]))
    place = {name: np.searchsorted(neurons, probe.neurons_) for name, probe in probes.items()}
    small = {name: probe.reduced() for name, probe in probes.items()}
    sizes = check_sizes(None, most)
    hits = {(part, name): np.zeros(len(sizes)) for part in ("valid", "test") for name in probes}
    for part in ("valid", "test"):
        for features in stream(engine, prompts[part], neurons=neurons):
            for name, probe in small.items():
                votes = probe.votes_by_size(features.scores.columns(place[name]), sizes)
                right = votes.argmax(axis=2) == gold[part][features.rows, None]
                hits[part, name] += right.sum(axis=0)
            probability[part].append(features.probability)
            _tell(report, features.rows)

    whole = {name: np.concatenate(found) for name, found in probability.items()}
    rows = baselines(whole, gold)
    for name in probes:
        on_valid = hits["valid", name] / len(gold["valid"])
        best = int(on_valid.argmax())  # the smallest of the best sizes
        on_test = hits["test", name][best] / len(gold["test"])
        rows.append((name, sizes[best], float(on_valid[best]), float(on_test)))
    return table(rows, key, len(gold["train"]), whole["test"])


def _tell(report: Callable[[int], object] | None, rows: slice) -> None:
    if report is not None:
        report(rows.stop - rows.start)
