"""Compare a method's numbers with forwards of the model itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from negkernel.judge.reference import Reference
from negkernel.judge.trial import Trial
from negkernel.methods.base import Method, Work
from negkernel.methods.full import Full
from negkernel.request.answers import starts
from negkernel.request.rows import Rows
from negkernel.sites import Spot

# A row shifts this many neurons of the first layer at once: what they change passes through every
# other layer, and in a mixture of experts some of them belong to experts that were chosen.
NEURONS = 256
# Amounts that are tried; the smallest whose effect is large enough is put to the model. One is 0:
# a row must not depend on the others that are computed with it.
AMOUNTS = (0.0, *(4.0**k for k in range(-4, 6)))
# A whole forward for each is dear: these for "full".
FEW_AMOUNTS = (0.0, 1.0, 8.0)
HALF = 1e-5  # numbers of half precision are further apart at 1
# Nats that a row should move a target by: enough to be far above the noise of float32.
EFFECT = 0.5


@dataclass(frozen=True)
class Noise:
    """What rounding may do to a forward of the model.

    Attributes
    ----------
    base : float
        Nats, for each nat of the largest |log p|.
    row : float
        Share of a row's effect.
    """

    base: float
    row: float

    @classmethod
    def of(cls, eps: float) -> Noise:
        """Noise of a dtype whose numbers are ``eps`` apart at 1."""
        return cls(2 * eps, 0.1) if eps > HALF else cls(1e-5, 0.01)


def disagreement(method: Method, reference: Reference, trial: Trial, noise: Noise) -> str | None:
    """Say where ``method`` computes something else than the model; None if it does not.

    Log-probs of the whole vocabulary at the base of each prompt of the trial, and some of a row
    on the longest, whose amount is chosen so that its effect is at least 30 times the noise.
    """
    bases = [reference.logprob(*one) for one in zip(trial.tokens, trial.positions, strict=True)]
    amounts = FEW_AMOUNTS if isinstance(method, Full) else AMOUNTS
    row = _row(reference.widths)
    ids = _ids(bases[-1], trial.targets[-1])
    work = _work(trial, len(bases[0]), ids, row, amounts, reference)
    parts = list(method.run(work))
    own = torch.cat([part.base_logprob for part in parts])
    change = torch.cat([part.logprob_shift for part in parts])[-len(amounts) :]
    for tokens, mine, model in zip(trial.tokens, own, bases, strict=True):
        distance, allowed = _distance(mine, model, noise)
        if not distance <= 4 * allowed:
            return (
                f"without any shift its log-probs differ from the model's own by {distance:.2g} "
                f"nat for a prompt of {len(tokens)} tokens, where rounding explains {allowed:.1g}"
            )
    moved = float(change[0].abs().amax())
    if not moved <= 4 * allowed:
        return (
            f"a row that shifts nothing moves a log-prob by {moved:.2g} nat: rows that are "
            "computed together disturb each other"
        )
    size = change.abs().amax(1).nan_to_num(torch.inf, torch.inf, torch.inf)
    chosen = _first(size, max(EFFECT, 30 * allowed))
    one = _times(row, amounts[chosen])
    at = trial.positions[-1], trial.read[-1][0]
    shifted = reference.shifted(trial.tokens[-1], *at, one)
    expected = (shifted - bases[-1])[ids].to(change)
    effect = float(expected.abs().amax())
    distance = float((change[chosen] - expected).abs().amax())
    if not distance <= 2 * allowed + noise.row * effect:
        return (
            f"a shift moves a log-prob by {effect:.2g} nat in the model's own forward of "
            f"{len(trial.tokens[-1])} tokens, and by {distance:.2g} more or less here"
        )
    return None


def _first(size: Tensor, enough: float) -> int:
    """Index of the first effect that is large enough, else of the largest that is finite."""
    large = ((size >= enough) & size.isfinite()).nonzero()
    if len(large):
        return int(large[0])
    return int(size.nan_to_num(0, 0, 0).argmax())


def _distance(own: Tensor, model: Tensor, noise: Noise) -> tuple[float, float]:
    """Largest difference of log-probs [V], and what rounding may make of it."""
    finite = model.isfinite()
    size = float(model[finite].abs().amax())
    allowed = noise.base * (1 + size)
    if not torch.equal(own.isfinite(), finite):
        return float("inf"), allowed
    return float((own[finite] - model[finite].to(own)).abs().amax()), allowed


def _ids(base: Tensor, targets: Sequence[int]) -> Tensor:
    """Tokens whose log-prob is compared: targets, the likeliest and some of the others."""
    spread = torch.linspace(0, len(base) - 1, 4).long()
    likeliest = base.topk(min(3, len(base))).indices
    return torch.cat([torch.tensor(targets[:4]), likeliest, spread])


def _row(widths: Sequence[int]) -> Rows:
    """One row that shifts neurons of the first layer that has some by 1 and -1."""
    layer, width = next((layer, width) for layer, width in enumerate(widths) if width)
    neuron = torch.linspace(0, width - 1, min(width, NEURONS)).long().unique()
    n = len(neuron)
    sign = 1.0 - 2.0 * (torch.arange(n) % 3 == 1)
    zero = torch.zeros(1, dtype=torch.int64)
    return Rows(zero, torch.tensor([0, n]), torch.full((n,), layer), neuron, sign)


def _times(row: Rows, amount: float) -> Rows:
    return Rows(row.prompt, row.start, row.layer, row.neuron, row.amount * amount)


def _work(
    trial: Trial,
    vocabulary: int,
    ids: Tensor,
    row: Rows,
    amounts: Sequence[float],
    reference: Reference,
) -> Work:
    """Work whose rows are the ``row`` at each of the ``amounts``, for every prompt."""
    P, A, n = len(trial.tokens), len(amounts), len(row.neuron)

    def rows(first: int, last: int) -> Rows:
        times = (last - first) * A
        amount = torch.tensor(amounts).repeat(last - first).repeat_interleave(n)
        return Rows(
            torch.arange(last - first).repeat_interleave(A),
            torch.arange(times + 1) * n,
            row.layer.repeat(times),
            row.neuron.repeat(times),
            row.amount.repeat(times) * amount,
        )

    every_layer = torch.tensor([[layer, 0] for layer, n in enumerate(reference.widths) if n])
    return Work(
        tokens=trial.tokens,
        read=trial.read,
        targets=_where_probed(trial, ids),
        watched=_where_probed(trial, torch.arange(vocabulary)),
        rows=rows,
        neurons=every_layer.expand(P, -1, 2),
        spot=Spot(reference.site, "signed"),
    )


def _where_probed(trial: Trial, ids: Tensor) -> Tensor:
    """Columns [Q, n] that take the tokens ``ids`` [n] at the last position of each prompt."""
    stop = starts(trial.read)[1:]
    found = torch.full((int(stop[-1]), len(ids)), -1)
    found[stop - 1] = ids
    return found
