"""Say what makes an accuracy mean less than it seems to."""

from __future__ import annotations

import pandas as pd

LEAST_MASS = 0.01  # of probability on the labels, below which the model does not answer at all


def cautions(frame: pd.DataFrame) -> list[str]:
    """Return a sentence for everything to beware of in a frame of accuracies.

    Parameters
    ----------
    frame : DataFrame
        Of :meth:`neurgrad.analysis.skills.study.TaskStudy.accuracies`.
    """
    lines = []
    for (task, splits, shots), part in frame.groupby(["task", "splits", "shots"], sort=False):
        where, row = f"{task}, {splits} splits, {shots}-shot", part.iloc[0]
        if row["label_mass"] < LEAST_MASS:
            lines.append(
                f"{where}: the labels carry {row['label_mass']:.2%} of the probability; the model "
                "hardly considers them, and gradients are of words that it would not say"
            )
        if row["valid_in_test"]:
            lines.append(
                f"{where}: {row['valid_in_test']:,.0f} validation records are test records, so "
                "that sizes were chosen on test rows and accuracies are too high"
            )
    return lines
