"""Ask a model more about interventions: what gradients predict, and what it answers instead."""

from __future__ import annotations

import weakref
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from negkernel.answers import gradients
from negkernel.answers.passes import passes
from negkernel.arguments import check_integer
from negkernel.handle import Host
from negkernel.model.exclusive import guard
from negkernel.model.state import state_of
from negkernel.request.neurons import Intervention
from negkernel.request.prompts import Request
from negkernel.sites import Site


class Further:
    """Interventions that were computed, and the model to ask.

    It keeps no model alive, and is None in copies.

    Parameters
    ----------
    host : Host
    request : Request
        P prompts.
    lists, sites
        P lists of R interventions, as :func:`negkernel.answers.passes.resolved` returns them.
    """

    def __init__(
        self,
        host: Host,
        request: Request,
        lists: list[list[Intervention]],
        sites: dict[str, Site],
    ):
        self._host = weakref.ref(host)
        self._request = request
        self._lists, self._sites = lists, sites
        self._state = state_of(host.given)

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        return type(None), ()

    def predicted(self) -> np.ndarray:
        """See :attr:`negkernel.Interventions.predicted`."""
        host, request = self._same(), self._request
        shape = (len(request), request.K, len(self._lists[0]))
        found = np.empty(shape, host.result_dtype)
        with guard(host.given):
            for name, site in self._sites.items():
                slopes = gradients.of_site(host, request, site, method="auto", check="once")
                for p, row in enumerate(self._lists):
                    own = slopes[p]
                    for r, one in enumerate(row):
                        if one.site == name:
                            found[p, :, r] = own.first_order(one)
        return request.squeeze(found)

    def top_answers(self, k: int) -> list[list[list[tuple[str, float]]]]:
        """See :meth:`negkernel.Interventions.top_answers`."""
        host, request = self._same(), self._request
        V = host.config.vocab_size
        check_integer("k", k, 1, V)
        found: dict[tuple[int, int], list[tuple[str, float]]] = {}
        with guard(host.given):
            runner = host.method("full")
            for one in passes(host, request.first(), self._lists, self._sites):
                # Every token as a target: the whole distribution, from plain forwards.
                tokens = torch.arange(V).expand(len(one.prompts), V)
                work = replace(one.work, targets=tokens, watched=tokens)
                places = iter(one.at)
                for part in runner.run(work):
                    for row in part.base_logprob + part.logprob_shift:
                        best = row.exp().topk(k)
                        found[next(places)] = [
                            (_text(host.tokenizer, int(token)), float(p))
                            for token, p in zip(best.indices, best.values, strict=True)
                        ]
        R = len(self._lists[0])
        return [[found[p, r] for r in range(R)] for p in range(len(request))]

    def _same(self) -> Host:
        """The host, if its model is as it was."""
        host = self._host()
        if host is None:
            raise ValueError(
                "the engine that computed this result is gone; keep it as long as its results are "
                "asked for predictions or answers"
            )
        host.look()
        if state_of(host.given) != self._state:
            raise ValueError(
                "the model is no longer the one that computed this result: its weights, hooks or "
                "config changed; call Engine.intervene again"
            )
        return host


def _text(tokenizer: Any, token: int) -> str:
    return str(token) if tokenizer is None else str(tokenizer.decode([token]))
