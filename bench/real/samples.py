"""Say what a sample of a hundred neurons misses, from maps of all of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from bench.real.variants import asked_in
from negkernel import Engine

SAMPLE, DRAWS = 100, 2000
TOP = 100  # strongest neurons that a sample should hold some of


def sampled(model: Path, study: Path) -> None:
    """Describe every prompt's map, and samples of it, in a row of ``samples.csv``."""
    table = pd.read_parquet(study / "tables" / "every.parquet")
    prompts, targets = asked_in(table)
    engine = Engine.from_pretrained(str(model))
    rng = np.random.default_rng(0)
    rows = []
    for p, (_, own) in enumerate(table.groupby("prompt_index")):
        found = engine.gradients([prompts[p]], [targets[p]])
        at = own["layer"].to_numpy(), own["neuron"].to_numpy()
        neg = own["neg"].to_numpy(np.float64)
        neurgrad = found.neurgrad()[0][at].astype(np.float64)
        rows.append(
            {
                "prompt": p,
                "neurons": len(own),
                "linear": own["linear"].mean(),
                "positive": (own["polarity"] > 0).mean(),
                "r_neurgrad": np.corrcoef(neurgrad, neg)[0, 1],
                "r_cg": np.corrcoef(found.cg[0][at], neg)[0, 1],
                "same_sign": (np.sign(neurgrad) == np.sign(neg)).mean(),
                **_misses(np.abs(neg), rng),
            }
        )
    pd.DataFrame(rows).to_csv(study / "samples.csv", index=False)


def _misses(strength: np.ndarray, rng: np.random.Generator) -> dict[str, float]:
    """Compare samples with all neurons, by their |NEG| [N]."""
    order = np.argsort(-strength, kind="stable")
    place = np.empty(len(order), dtype=int)
    place[order] = np.arange(len(order))
    drawn = np.stack([rng.choice(len(order), SAMPLE, replace=False) for _ in range(DRAWS)])
    total = strength.sum()
    return {
        "held_by_top": strength[order[:TOP]].sum() / total,
        "held_by_percent": strength[order[: round(len(order) / 100)]].sum() / total,
        "none_of_top": (place[drawn].min(axis=1) >= TOP).mean(),
        "strongest": np.median(strength[drawn].max(axis=1)) / strength.max(),
    }
