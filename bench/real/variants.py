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


def released_batches(known: Path, model: Path, study: Path) -> None:
    """Correlate NEG with gradients of the sum of a batch's labels, as the public code returns them.

    Its batched gradients index labels with an axis too many, so that every prompt's gradient is
    that of the sum of the probabilities of all labels in the batch.
    """
    table = pd.read_parquet(study / "tables" / "estimates.parquet")
    P = table["prompt_index"].nunique()
    asked = pd.read_csv(known)[:P]
    prompts, targets = asked["prompt"].tolist(), asked["answer"].tolist()
    engine = Engine.from_pretrained(str(model))
    layer, neuron = (table[name].to_numpy().reshape(P, -1) for name in ("layer", "neuron"))
    mixed = np.zeros(layer.shape)
    for first in range(0, P, BATCH):
        few = slice(first, min(first + BATCH, P))
        for p in range(few.start, few.stop):
            labels = list(dict.fromkeys(targets[few]))
            counts = np.array([targets[few].count(label) for label in labels])
            found = engine.gradients([prompts[p]], [labels])
            mixed[p] = counts @ found.cg[0][:, layer[p], neuron[p]]
    own = table[["neg", "activation", "CG", "NeurGrad"]].to_numpy(np.float64).reshape(P, -1, 4)
    neg, sign = own[..., 0], np.where(own[..., 1] > 0, 1.0, -1.0)
    rows = [
        (name, labels, P, *correlation(values, neg))
        for name, labels, values in (
            ("CG", "own", own[..., 2]),
            ("CG", "of the batch", mixed),
            ("NeurGrad", "own", own[..., 3]),
            ("NeurGrad", "of the batch", mixed * sign),
        )
    ]
    columns = ["estimator", "labels", "prompts", "r", "r_low", "r_high"]
    pd.DataFrame(rows, columns=columns).to_csv(study / "batching.csv", index=False)


def half_precision(known: Path, model: Path, study: Path, n_prompts: int) -> None:
    """Sweep some random neurons in bfloat16, by whole forwards and in its difference form."""
    table = pd.read_parquet(study / "tables" / "estimates.parquet")
    table = table[table["prompt_index"] < n_prompts].groupby("prompt_index").head(NEURONS)
    asked = pd.read_csv(known)[:n_prompts]
    n_prompts = len(asked)
    neurons = table[["layer", "neuron"]].to_numpy().reshape(n_prompts, -1, 2)
    exact = table["neg"].to_numpy(np.float64).reshape(n_prompts, -1)
    neurgrad = table["NeurGrad"].to_numpy(np.float64).reshape(n_prompts, -1)
    engine = Engine.from_pretrained(str(model), dtype=torch.bfloat16)
    shifts = STEP * np.delete(np.arange(-10, 11), 10)
    rows = []
    for method, name in (("full", "whole forwards"), ("delta", "difference form")):
        sweep = engine.sweep(
            asked["prompt"].tolist(),
            asked["answer"].tolist(),
            neurons,
            shifts,
            method=method,
            check=False,
        )
        neg = sweep.neg()
        found = {
            "r_neg": correlation(neg, exact),
            "r_neurgrad": correlation(neurgrad, neg),
            "linear": mean(sweep.linear().mean(1)),
            "same_sign": mean((np.sign(neg) == np.sign(exact)).mean(1)),
        }
        rows += [(name, what, n_prompts, neurons.shape[1], *value) for what, value in found.items()]
    columns = ["forwards", "what", "prompts", "neurons", "value", "low", "high"]
    pd.DataFrame(rows, columns=columns).to_csv(study / "half.csv", index=False)
