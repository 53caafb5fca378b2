"""Measure what could explain the paper's lower correlations: rounded forwards, mixed-up labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from negkernel import Engine
from neurgrad.analysis.intervals import correlation, mean

BATCH = 8  # of the released code
STEP = 0.2  # of the paper's grid
NEURONS = 50  # of a prompt, swept by whole forwards


def asked_in(table: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Prompts and targets of a table, in its order."""
    of = table.groupby("prompt_index")[["prompt", "target"]].first().astype(str)
    return of["prompt"].tolist(), of["target"].tolist()


def by_prompt(table: pd.DataFrame, *names: str) -> list[np.ndarray]:
    """Columns of a table as arrays [P, N]."""
    P = table["prompt_index"].nunique()
    return [table[name].to_numpy().reshape(P, -1) for name in names]


def released_batches(model: Path, study: Path) -> None:
    """Correlate NEG with gradients of the sum of a batch's labels, as the public code returns them.

    Its batched gradients index labels with an axis too many, so that every prompt's gradient is
    that of the sum of the probabilities of all labels in the batch.
    """
    table = pd.read_parquet(study / "tables" / "estimates.parquet")
    prompts, targets = asked_in(table)
    layer, neuron, activation = by_prompt(table, "layer", "neuron", "activation")
    neg, cg, neurgrad = by_prompt(table.astype({"neg": float}), "neg", "CG", "NeurGrad")
    engine = Engine.from_pretrained(str(model))
    mixed = np.zeros(neg.shape)
    for p in range(len(prompts)):
        first = p - p % BATCH
        batch = targets[first : first + BATCH]
        labels = list(dict.fromkeys(batch))
        found = engine.gradients([prompts[p]], [labels]).cg[0][:, layer[p], neuron[p]]
        mixed[p] = np.array([batch.count(label) for label in labels]) @ found
    sign = np.where(activation > 0, 1.0, -1.0)
    rows = [
        (name, labels, len(prompts), *correlation(values, neg))
        for name, labels, values in (
            ("CG", "own", cg),
            ("CG", "of the batch", mixed),
            ("NeurGrad", "own", neurgrad),
            ("NeurGrad", "of the batch", mixed * sign),
        )
    ]
    columns = ["estimator", "labels", "prompts", "r", "r_low", "r_high"]
    pd.DataFrame(rows, columns=columns).to_csv(study / "batching.csv", index=False)


def half_precision(model: Path, study: Path, n_prompts: int) -> None:
    """Sweep some random neurons in bfloat16, by whole forwards and in its difference form."""
    table = pd.read_parquet(study / "tables" / "estimates.parquet")
    table = table[table["prompt_index"] < n_prompts].groupby("prompt_index").head(NEURONS)
    prompts, targets = asked_in(table)
    layer, neuron = by_prompt(table, "layer", "neuron")
    exact, neurgrad = by_prompt(table.astype({"neg": float}), "neg", "NeurGrad")
    linear = by_prompt(table, "linear")[0]
    rows = [("float32, difference form", "linear", *mean(linear.mean(1)))]
    rows.append(("float32, difference form", "r_neurgrad", *correlation(neurgrad, exact)))
    engine = Engine.from_pretrained(str(model), dtype=torch.bfloat16)
    shifts = STEP * np.delete(np.arange(-10, 11), 10)
    for method, name in (("full", "whole forwards"), ("delta", "difference form")):
        sweep = engine.sweep(
            prompts, targets, np.stack([layer, neuron], -1), shifts, method=method, check=False
        )
        neg = sweep.neg()
        same = (np.sign(neg) == np.sign(exact)).mean(1)
        rows += [
            (f"bfloat16, {name}", what, *value)
            for what, value in (
                ("linear", mean(sweep.linear().mean(1))),
                ("r_neurgrad", correlation(neurgrad, neg)),
                ("r_neg", correlation(neg, exact)),
                ("same_sign", mean(same)),
            )
        ]
    columns = ["arithmetic", "what", "value", "value_low", "value_high"]
    found = pd.DataFrame(rows, columns=columns)
    found = found.assign(prompts=len(prompts), neurons=layer.shape[1])
    found.to_csv(study / "half.csv", index=False)
