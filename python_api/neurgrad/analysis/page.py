"""The page that puts a model's tables and figures beside the paper's."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

import pandas as pd

from neurgrad.analysis.paper import CITED

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
td, th { padding: .15rem .7rem; text-align: right; border-bottom: 1px solid #ddd }
img { max-width: 100% } section { margin-top: 2.5rem } .cited { color: #666 }
"""
LONGEST = 40  # rows of a table that is shown whole


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
        parts.append(f"<section><h2>{escape(name)}: {escape(titles[name])}</h2>")
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
        found = "nearly equal, as in the paper" if gap < 0.05 else "unequal, unlike the paper"
        lines.append(
            f"Polarity is {found}: {row['positive']:.3f} positive, {row['negative']:.3f} negative. "
            f"{row['linear']:.3f} of neurons are linear within +-2."
        )
    if "table2" in frames:
        r = frames["table2"].set_index("estimator")["r_pooled"]
        best = str(r.idxmax())
        found = "as in the paper" if best == "NeurGrad" else "unlike the paper"
        lines.append(f"{best} correlates best with NEG, {found}: r = {r[best]:.4f}.")
    return lines


def _table(frame: pd.DataFrame) -> str:
    return str(frame.to_html(index=False, border=0, float_format="{:.4g}".format, na_rep=""))
