"""What ``negkernel demo`` computes: sweeps of random neurons and the gradients of all of them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from neurgrad import demo
from neurgrad.cli.showing.quiet import quiet_loading

if TYPE_CHECKING:
    import pandas as pd

    from negkernel import Engine

NEURONS = {"causal": 100, "masked": 25}  # for each fact; a masked row carries every position
SHIFTS = np.concatenate([np.arange(-50, 0), np.arange(1, 51)]) * 0.04  # the paper's +-2 range
CHECKED = 2  # neurons of the first fact whose curve is also computed by ordinary forwards


@dataclass(frozen=True)
class Study:
    """What was measured, in the units of :class:`negkernel.Sweep`.

    Attributes
    ----------
    engine : str
        What ran.
    facts, neurons, rows : int
        Prompts, (fact, neuron) pairs swept, shifted forwards.
    rate, ordinary_rate : float
        Shifted forwards per second, and that of ordinary ones with hooks.
    difference : float
        Largest difference of log p between the two, in nats.
    linear, positive, negative : float
        Shares of the swept neurons.
    r_neurgrad, r_cg : float
        Correlation with NEG on the magnitude axis.
    n_gradients : int
        Gradients that one pass returned, in `gradient_seconds`.
    fact, top : str, DataFrame
        One fact, and the neurons with the largest ``|NeurGrad|`` for it, with their NEG.
    """

    engine: str
    facts: int
    neurons: int
    rows: int
    rate: float
    ordinary_rate: float
    difference: float
    linear: float
    positive: float
    negative: float
    r_neurgrad: float
    r_cg: float
    n_gradients: int
    gradient_seconds: float
    fact: str
    top: pd.DataFrame


def study(kind: demo.Kind, seed: int) -> Study:
    """Sweep random neurons of one fact a relation, and take the gradient of every neuron."""
    with quiet_loading():
        engine = demo.load(kind)
    rng = np.random.default_rng(seed)
    facts = _one_fact_a_relation(kind, seed)
    prompts, answers = facts["prompt"].tolist(), facts["answer"].tolist()
    neurons = _random_neurons(rng, len(facts), NEURONS[kind], engine)

    # The first call of each kind also pays for what a process does once.
    engine.sweep(prompts, answers, neurons[:, :1], SHIFTS[:2])
    engine.gradients(prompts[:1], answers[:1])

    start = time.perf_counter()
    gradients = engine.gradients(prompts, answers)
    gradient_seconds = time.perf_counter() - start

    start = time.perf_counter()
    sweep = engine.sweep(prompts, answers, neurons, SHIFTS)
    rate = sweep.rows / (time.perf_counter() - start)

    start = time.perf_counter()
    ordinary = engine.sweep(prompts[:1], answers[:1], neurons[0, :CHECKED], SHIFTS, method="full")
    ordinary_rate = ordinary.rows / (time.perf_counter() - start)

    neg, polarity = sweep.neg().ravel(), sweep.polarity()
    at = (np.arange(len(facts))[:, None], neurons[..., 0], neurons[..., 1])
    strongest, _ = gradients.top(8)
    top = engine.sweep(prompts[:1], answers[:1], strongest[0], SHIFTS).to_frame()
    top["neurgrad"] = gradients.neurgrad()[0, strongest[0, :, 0], strongest[0, :, 1]]
    return Study(
        engine=repr(engine),
        facts=len(facts),
        neurons=neg.size,
        rows=sweep.rows,
        rate=rate,
        ordinary_rate=ordinary_rate,
        difference=float(
            np.abs(sweep.logprob_shift[0, :CHECKED] - ordinary.logprob_shift[0]).max()
        ),
        linear=float(sweep.linear().mean()),
        positive=float((polarity > 0).mean()),
        negative=float((polarity < 0).mean()),
        r_neurgrad=float(np.corrcoef(gradients.neurgrad()[at].ravel(), neg)[0, 1]),
        r_cg=float(np.corrcoef(gradients.cg[at].ravel(), neg)[0, 1]),
        n_gradients=gradients.cg.size,
        gradient_seconds=gradient_seconds,
        fact=f"{prompts[0]} -> {answers[0]} (p = {np.exp(sweep.base_logprob[0]):.3f})",
        top=top,
    )


def write_facts(path: Path, kind: demo.Kind, seed: int, n: int = 100) -> int:
    """Write `n` prompts with their answers as CSV, and return how many there were."""
    facts = demo.prompts(kind).sample(n, random_state=seed)
    facts[["prompt", "answer", "relation"]].to_csv(path, index=False)
    return len(facts)


def _one_fact_a_relation(kind: demo.Kind, seed: int) -> pd.DataFrame:
    """Choose a fact a relation, in words that training never showed."""
    facts = demo.prompts(kind)
    heldout = facts[facts["split"] == "heldout"]
    return heldout.groupby("relation", sort=False).sample(1, random_state=seed)


def _random_neurons(rng: np.random.Generator, n_facts: int, n: int, engine: Engine) -> np.ndarray:
    """Draw neurons for each fact, uniformly over all layers: [P, N, 2]."""
    every = engine.neurons
    return np.stack(
        [every[np.sort(rng.choice(len(every), n, replace=False))] for _ in range(n_facts)]
    )
