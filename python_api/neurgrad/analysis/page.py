"""The page that puts a model's tables and figures beside the paper's."""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape

import pandas as pd

from neurgrad.analysis.paper import CITED, TABLE1

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
td, th { padding: .15rem .7rem; text-align: right; border-bottom: 1px solid #ddd }
img { max-width: 100% } section { margin-top: 2.5rem } .cited { color: #666 }
"""
LONGEST = 40  # rows of a table that is shown whole
NEARLY_EQUAL = 0.05  # shares of the two polarities; the paper's largest gap is 0.031
MANY_R = 0.7  # what the paper finds in its figure 5


def render(
    engine: str,
    known: str,
    seed: int,
    titles: Mapping[str, str],
    frames: Mapping[str, pd.DataFrame],
) -> str:
    """Return the page as HTML; figures are referred to as ``NAME.png`` beside it."""
    parts = [
        "<!doctype html><html lang='en'><meta charset='utf-8'>",
        f"<title>Neuron empirical gradients</title><style>{STYLE}</style>",
        f"<h1>Neuron empirical gradients</h1><p>{escape(engine)}</p>",
        f"<p>{escape(known)}. Seed {seed}.</p>",
    ]
    parts += [f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in remarks(frames))}</ul>"]
    for name, frame in frames.items():
        parts.append(f"<section><h2>{escape(titles[name])}</h2>")
        parts.append(f"<img src='{name}.png' alt='{escape(titles[name])}'>")
        if len(frame) <= LONGEST:
            parts.append(_table(frame))
        parts.append(f"<p><a href='{name}.csv'>{name}.csv</a></p>")
        if name in CITED:
            parts.append("<div class='cited'><p>Cited from the paper, other models:</p>")
            parts.append(_table(CITED[name]) + "</div>")
        parts.append("</section>")
    return "\n".join(parts) + "\n"


def remarks(frames: Mapping[str, pd.DataFrame]) -> list[str]:
    """Say where the paper's pattern holds on this model and where it does not."""
    lines = []
    if "table1" in frames:
        row = frames["table1"].iloc[0]
        gap = abs(row["positive"] - row["negative"])
        # Two standard deviations of the gap that a fair coin shows, where few were tossed.
        chance = 2 / math.sqrt(row["prompts"] * row["neurons"])
        found = "nearly equal, as in the paper"
        if gap >= max(NEARLY_EQUAL, chance):
            found = "unequal, unlike the paper"
        low, high = TABLE1["linear"].min(), TABLE1["linear"].max()
        within = "within" if low <= row["linear"] <= high else "outside"
        lines.append(
            f"Polarity is {found}: {row['positive']:.3f} positive, {row['negative']:.3f} negative. "
            f"{row['linear']:.3f} of neurons are linear within +-2, {within} the paper's range of "
            f"{low:.3f} to {high:.3f}."
        )
    if "table2" in frames:
        r = frames["table2"].set_index("estimator")["r_pooled"]
        best = str(r.idxmax())
        found = "as in the paper" if best == "NeurGrad" else "unlike the paper"
        lines.append(f"{best} correlates best with NEG, {found}: r = {r[best]:.4f}.")
    if "fig5" in frames:
        frame = frames["fig5"]
        near = frame[frame["range"] == 0.5].sort_values("neurons")
        last = near.iloc[-1]
        found = "as in the paper" if last["r"] >= MANY_R else "unlike the paper"
        lines.append(
            f"With {last['neurons']:.0f} random neurons enhanced by up to 0.5, predicted and "
            f"actual shift correlate with r = {last['r']:.3f}, {found} (at least {MANY_R} up to "
            "4,096)."
        )
    return lines


def _table(frame: pd.DataFrame) -> str:
    return str(frame.to_html(index=False, border=0, float_format="{:.4g}".format, na_rep=""))
