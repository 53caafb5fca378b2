"""Steer the probability of an answer to a wanted value by shifting a few neurons.

The k neurons whose gradients of log p are largest are shifted together, each in proportion to its
gradient: the way that moves log p furthest for its length. How far is first read off the gradients,
which give the slope of the log-odds; then one exact row tells where that leads, and a curve through
all rows so far, with the gradients' slope at its beginning, says how far to go instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from negkernel import Engine, Intervention
from negkernel.arguments import check_integer, check_kind

if TYPE_CHECKING:
    import pandas as pd

    from negkernel.request.prompts import Prompts

CLOSE = 0.005  # of the wanted probability: no further row is spent
ROWS = 3  # exact rows that a prompt may take
OTHERS = 10  # prompts that damage is measured at, where none are named
FURTHER = 3.0  # times the longest step so far, where the wanted value lies beyond it


@dataclass(frozen=True)
class Steered:
    """What it took to bring answers to their wanted probabilities, and what it did elsewhere.

    Attributes
    ----------
    prompts, targets : list of str
    probability, base, predicted, actual : ndarray [P]
        Wanted; without a shift; by the gradients alone (to first order, so it may lie outside
        [0, 1]); and as the exact engine computes it for the interventions that are returned.
    rows : ndarray of int64 [P]
        Exact rows that were computed for each prompt.
    kl : ndarray [P]
        Median over the held-out prompts of the KL divergence that the intervention causes there,
        in nats; NaN where there are none.
    interventions : list of P Intervention
    """

    prompts: list[str]
    targets: list[str]
    probability: np.ndarray
    base: np.ndarray
    predicted: np.ndarray
    actual: np.ndarray
    rows: np.ndarray
    kl: np.ndarray
    interventions: list[Intervention]

    def within(self, distance: float = 0.05) -> np.ndarray:
        """Whether each answer came as near as that to its wanted probability, bool [P]."""
        return np.abs(self.actual - self.probability) <= distance

    def to_frame(self) -> pd.DataFrame:
        """Table with one row for each prompt."""
        import pandas as pd

        numbers = ("probability", "base", "predicted", "actual", "rows", "kl")
        columns: dict[str, Any] = {"prompt": self.prompts, "target": self.targets}
        return pd.DataFrame(columns | {name: getattr(self, name) for name in numbers})


def steer(
    engine: Engine,
    prompts: Prompts,
    targets: Sequence[Any],
    *,
    probability: float | Sequence[float],
    k: int = 16,
    rows: int = ROWS,
    heldout: Sequence[Any] | None = None,
    site: str = "paper",
    **encoding: Any,
) -> Steered:
    """Bring each target's probability to a wanted value by shifting k neurons of its prompt.

    Parameters
    ----------
    engine : negkernel.Engine
    prompts, targets
        P prompts and one target for each, as in :meth:`negkernel.Engine.gradients`.
    probability : float, or P of them
        Wanted, between 0 and 1.
    k : int
        How many neurons may be shifted.
    rows : int
        Most exact rows that each prompt may take.
    heldout : list of prompts, optional
        Where the damage is measured; by default at ten of the other prompts.
    site : str
        As in :meth:`negkernel.Engine.gradients`.
    **encoding
        See :class:`negkernel.request.encoding.Encoding`.

    Returns
    -------
    Steered

    Raises
    ------
    ValueError
        Probabilities that are none or not one for each prompt, several targets a prompt, or more
        neurons than there are.
    """
    check_kind("engine", engine, Engine)
    check_integer("rows", rows, 1, 100)
    grads = engine.gradients(prompts, targets, site=site, log=True, **encoding)
    if grads.target_ids.ndim == 2:
        raise ValueError("several targets a prompt are given; expected one for each prompt")
    wanted = _probabilities(probability, len(grads.prompts))
    neurons, _ = grads.top(k)
    paths = [
        _Path(own, cg[tuple(own.T)], float(p), float(aim))
        for own, cg, p, aim in zip(neurons, grads.cg, grads.prob, wanted, strict=True)
    ]
    asked, answers = grads.prompt_tokens, grads.target_ids.tolist()
    how: dict[str, Any] = {"mask_index": encoding.get("mask_index")}
    if grads.target_tokens is not None:
        answers, how = grads.target_tokens, how | {"target_tokens": "all"}
    for _ in range(rows):
        under_way = [p for p, path in enumerate(paths) if not path.done]
        if not under_way:
            break
        found = engine.intervene(
            [asked[p] for p in under_way],
            [answers[p] for p in under_way],
            [[paths[p].next(site)] for p in under_way],
            **how,
        )
        reached = (found.base_logprob[..., None] + found.logprob_shift).reshape(len(under_way))
        for p, logprob in zip(under_way, reached, strict=True):
            paths[p].add(float(logprob))
    interventions = [path.intervention(path.best[0], site) for path in paths]
    return Steered(
        prompts=grads.prompts,
        targets=[one if isinstance(one, str) else one[0] for one in grads.targets],
        probability=wanted,
        base=grads.prob,
        predicted=np.array([path.predicted for path in paths]),
        actual=np.array([_probability(path.best[1]) for path in paths]),
        rows=np.array([len(path.steps) for path in paths]),
        kl=_damage(engine, asked, heldout, interventions, how["mask_index"]),
        interventions=interventions,
    )


class _Path:
    """One prompt's shifts: how far along the gradient, and the log-odds that were found there."""

    def __init__(self, neurons: np.ndarray, slope: np.ndarray, probability: float, wanted: float):
        length = float(np.linalg.norm(slope))
        if not length > 0:
            raise ValueError(
                "the gradients of a prompt's answer are 0, so that no shift is known to move it"
            )
        self.neurons, self.direction = neurons, slope / length
        self.base, self.wanted = probability, wanted
        self.aim = _log_odds(np.log(wanted))
        self.start = _log_odds(np.log(max(probability, float(np.finfo(np.float32).tiny))))
        self.slope = length / max(1 - probability, float(np.finfo(np.float32).eps))
        self.length = length
        self.steps: list[tuple[float, float]] = []
        self.way = 1.0 if self.aim >= self.start else -1.0
        self._asked = 0.0

    @property
    def best(self) -> tuple[float, float]:
        """The step that came nearest to what is wanted, and its log-odds."""
        return min(self.steps, key=lambda step: abs(_probability(step[1]) - self.wanted))

    @property
    def done(self) -> bool:
        """Whether it came near enough."""
        return bool(self.steps) and abs(_probability(self.best[1]) - self.wanted) <= CLOSE

    @property
    def predicted(self) -> float:
        """Probability at the best step, by the gradients."""
        return self.base + self.base * self.length * self.best[0]

    def intervention(self, step: float, site: str) -> Intervention:
        """Go so far."""
        return Intervention(self.neurons, step * self.direction, axis="signed", site=site)

    def next(self, site: str) -> Intervention:
        """Go where the rows so far say that the wanted probability is."""
        self._asked = self.way * self._distance()
        return self.intervention(self._asked, site)

    def add(self, logprob: float) -> None:
        """Tell where the last step led."""
        self.steps.append((self._asked, _log_odds(logprob)))

    def _distance(self) -> float:
        """How far along the way to go next; all is turned so that the way leads up."""
        rise = self.way * (self.aim - self.start)
        if not self.steps:
            return rise / self.slope
        steps = sorted((self.way * t, self.way * (y - self.start)) for t, y in self.steps)
        short = [(0.0, 0.0), *(one for one in steps if one[1] < rise)]
        beyond = [one for one in steps if one[1] >= rise]
        high = beyond[0][0] if beyond else FURTHER * steps[-1][0]
        low = max(t for t, _ in short if t < high)
        t, y = np.array(steps).T
        # A polynomial with the known slope at 0, through all steps.
        rest = np.linalg.solve(np.vander(t, increasing=True), (y - self.slope * t) / t**2)
        roots = np.roots([*rest[::-1], self.slope, -rise])
        roots = roots[np.abs(roots.imag) < 1e-9 * (1 + np.abs(roots.real))].real
        inside = roots[(roots > low) & (roots < high)]
        if len(inside):
            return float(inside.min())
        if not beyond:
            return high
        floor = dict(short)[low]
        return low + (high - low) * (rise - floor) / (beyond[0][1] - floor)


def _log_odds(logprob: float) -> float:
    logprob = min(float(logprob), -1e-12)
    return float(logprob - np.log(-np.expm1(logprob)))


def _probability(log_odds: float) -> float:
    return float(1 / (1 + np.exp(-log_odds)))


def _probabilities(probability: Any, size: int) -> np.ndarray:
    wanted = np.asarray(probability, dtype=np.float64)
    if wanted.ndim > 1 or (wanted.ndim == 1 and len(wanted) != size):
        raise ValueError(
            f"probability has shape {list(wanted.shape)} for {size} prompts; expected one number, "
            "or one for each prompt"
        )
    if not ((wanted > 0) & (wanted < 1)).all():
        raise ValueError(f"probability is {probability}; expected numbers between 0 and 1")
    return np.broadcast_to(wanted, size).copy()


def _damage(
    engine: Engine,
    asked: list[list[int]],
    heldout: Sequence[Any] | None,
    interventions: list[Intervention],
    mask_index: int | None,
) -> np.ndarray:
    """Median KL divergence [P] that each intervention causes at held-out prompts."""
    n = len(interventions)
    if heldout is not None:
        found = engine.intervene(
            heldout, [0] * len(heldout), interventions, metrics=["kl"], mask_index=mask_index
        )
        assert found.kl is not None
        return np.median(found.kl, axis=0)
    others = min(OTHERS, n - 1)
    if not others:
        return np.full(n, np.nan)
    # Prompt p is where the interventions of the next ones are tried.
    turn = (np.arange(n)[:, None] + np.arange(1, others + 1)) % n
    lists = [[interventions[i] for i in row] for row in turn]
    found = engine.intervene(asked, [0] * n, lists, metrics=["kl"], mask_index=mask_index)
    assert found.kl is not None
    return np.array([np.median(found.kl[turn == i]) for i in range(n)])
