"""Say where the paper's pattern holds on a model, and claim no more than the intervals allow."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from neurgrad.analysis.paper import TABLE1

NEARLY_EQUAL = 0.05  # shares of the two polarities; the paper's largest gap is 0.031
MANY_R = 0.7  # what the paper finds in its figure 5
LEAST = 10  # prompts below which an interval over prompts says little


def remarks(frames: Mapping[str, pd.DataFrame]) -> list[str]:
    """Return a sentence for each finding of the artefacts that are there."""
    lines = []
    if "table1" in frames:
        lines.append(_polarity(frames["table1"].iloc[0]))
    if "table2" in frames and len(frames["table2"]) > 1:
        lines.append(_estimators(frames["table2"]))
    if "fig5" in frames:
        lines.append(_many(frames["fig5"]))
    return lines


def shown(row: pd.Series, name: str, form: str = ".3f") -> str:
    """Write a value with its interval."""
    value, low, high = (row[f"{name}{end}"] for end in ("", "_low", "_high"))
    if pd.isna(low):
        return f"{value:{form}} (one prompt: no interval)"
    return f"{value:{form}} [{low:{form}}, {high:{form}}]"


def _polarity(row: pd.Series) -> str:
    low, high = row["positive_low"] - row["negative_high"], row["positive_high"]
    low, high = sorted((low, high - row["negative_low"]))
    found = "is not told apart from equal"
    if low > -NEARLY_EQUAL and high < NEARLY_EQUAL:
        found = "is nearly equal, as in the paper"
    elif low > 0 or high < 0:
        found = "is unequal, unlike the paper"
    least, most = TABLE1["linear"].min(), TABLE1["linear"].max()
    within = "within" if least <= row["linear"] <= most else "outside"
    return (
        f"Polarity {_few(row)}{found}: {shown(row, 'positive')} positive, "
        f"{shown(row, 'negative')} negative. {shown(row, 'linear')} of neurons are linear, "
        f"{within} the paper's range of {least:.3f} to {most:.3f}."
    )


def _estimators(frame: pd.DataFrame) -> str:
    order = frame.sort_values("r_pooled", ascending=False)
    best, second = order.iloc[0], order.iloc[1]
    apart = best["r_pooled_low"] > second["r_pooled_high"]  # False where there is no interval
    found = "correlates best with NEG" if apart else "has the largest r with NEG, not told apart"
    paper = "as in the paper" if best["estimator"] == "NeurGrad" else "unlike the paper"
    return (
        f"{best['estimator']} {_few(best)}{found}, {paper}: r = {shown(best, 'r_pooled', '.4f')}; "
        f"next is {second['estimator']}, {shown(second, 'r_pooled', '.4f')}."
    )


def _many(frame: pd.DataFrame) -> str:
    last = frame[frame["range"] == 0.5].sort_values("neurons").iloc[-1]
    found = "as in the paper" if last["r"] >= MANY_R else "unlike the paper"
    return (
        f"With {last['neurons']:.0f} random neurons enhanced by up to 0.5, predicted and actual "
        f"shift correlate {_few(last)}with r = {shown(last, 'r')}, {found} (at least {MANY_R} "
        "up to 4,096)."
    )


def _few(row: pd.Series) -> str:
    return f"(of {row['prompts']:.0f} prompts only) " if row["prompts"] < LEAST else ""
