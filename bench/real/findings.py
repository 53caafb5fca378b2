"""Reduce what the steps kept to the values that the page speaks of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from neurgrad.analysis.intervals import mean
from neurgrad.analysis.skills.accuracy import PROBES

FOUND = ("Act", "Polar", "Magn", "Tree")  # the probes of neurons


def samples(frame: pd.DataFrame | None) -> pd.Series | None:
    """Means over prompts of :func:`bench.real.samples.sampled`, with their limits."""
    if frame is None:
        return None
    values: dict[str, float] = {"prompts": len(frame), "neurons": frame["neurons"].iloc[0]}
    for name in frame.columns.drop(["prompt", "neurons"]):
        found = mean(frame[name])
        values |= {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
        values |= {f"{name}_least": frame[name].min(), f"{name}_most": frame[name].max()}
    return pd.Series(values)


def probes(folder: Path, tasks: Sequence[str]) -> pd.DataFrame | None:
    """Accuracies of all tasks that are done."""
    paths = [path for task in tasks if (path := folder / task / "table3.csv").exists()]
    return pd.concat(map(pd.read_csv, paths), ignore_index=True) if paths else None


def skills(frame: pd.DataFrame | None) -> pd.DataFrame | None:
    """Put the probes of each task side by side, each with its interval.

    ``ahead`` names the probes of neurons whose interval lies above that of LM-Prob, ``above`` those
    whose interval lies above chance.
    """
    if frame is None:
        return None
    rows = []
    for task, part in frame.groupby("task", sort=False):
        own = part.set_index("probe")
        high = own.loc["LM-Prob", "test_high"]
        rows.append(
            {
                "task": task,
                "task, chance": f"{task}, {own.loc['Rand', 'test']:.2f}",
                "train": own["train"].iloc[0],
                **{name: _interval(own.loc[name]) for name in PROBES[1:]},
                "on labels": f"{own['label_mass'].iloc[0]:.2%}",
                "ahead": [name for name in FOUND if own.loc[name, "test_low"] > high],
                "above": [
                    name for name in FOUND if own.loc[name, "test_low"] > own.loc["Rand", "test"]
                ],
            }
        )
    return pd.DataFrame(rows)


def _interval(row: pd.Series) -> str:
    return f"{row['test']:.3f} [{row['test_low']:.2f}, {row['test_high']:.2f}]"
