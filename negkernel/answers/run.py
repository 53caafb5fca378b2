"""Hand work to a method and put its parts together."""

from __future__ import annotations

import logging

import numpy as np

from negkernel.handle import Host
from negkernel.methods.base import Method, Work
from negkernel.model.finite import check_finite
from negkernel.request.prompts import Request

log = logging.getLogger(__name__)


def run(
    host: Host, runner: Method, request: Request, work: Work, n_rows: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Watched log-probs [P, 2 C], changes [rows, C] and activations [P, N] of all prompts.

    With ``readings`` the changes have the columns of :mod:`negkernel.methods.readings`.
    """
    dtype, C = host.result_dtype, request.columns.shape[1]
    base = np.empty((len(request), 2 * C), dtype)
    change = np.empty((n_rows, 2 * C + 2 if work.readings else C), dtype)
    activation = np.empty((len(request), work.neurons.shape[1]), dtype)
    done = 0
    for part in runner.run(work):
        base[part.first : part.last] = part.base_logprob.numpy()
        activation[part.first : part.last] = part.activation.numpy()
        change[done : done + len(part.logprob_shift)] = part.logprob_shift.numpy()
        done += len(part.logprob_shift)
    check_finite(host.model, base)
    return base, change, activation


def report_spelling(request: Request, base: np.ndarray) -> None:
    """Log once when targets are likelier with the other choice of leading space.

    Parameters
    ----------
    base : ndarray [P, 2 K]
        Log-probs of ``request.watched_ids``; NaN where nobody looked.
    """
    own, other = base[:, : request.K], base[:, request.K :]
    likelier = (other > own) & (request.spelling_ids >= 0)
    if likelier.any():
        p, k = (int(i[0]) for i in likelier.nonzero())
        log.warning(
            "%d of %d targets are likelier in their other spelling (with or without a space "
            "before the word), for example %r after prompt %d: p = %.2e against %.2e; "
            "target_prefix chooses",
            int(likelier.sum()),
            likelier.size,
            request.targets[p][k],
            p,
            np.exp(other[p, k]),
            np.exp(own[p, k]),
        )
