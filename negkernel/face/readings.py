"""Read a model as it is, without a row: direct effects, ranks, and the price of a sweep."""

from __future__ import annotations

from typing import Any, Unpack

import numpy as np

from negkernel.answers import readout
from negkernel.answers.plan import Plan, Question, plan_gradients, plan_sweep
from negkernel.face.model import ModelFace
from negkernel.judge.choice import Asked, choose
from negkernel.model.exclusive import guarded
from negkernel.request.directions import Directions
from negkernel.request.encoding import Encoding
from negkernel.request.neurons import check_neurons, check_shifts
from negkernel.request.positions import Position
from negkernel.request.prompts import Prompts, Targets
from negkernel.sites import Spot
from negkernel.spectral import check_resolution


class ReadingFace(ModelFace):
    """The questions of :class:`negkernel.Engine` that need no shifted forward."""

    @guarded
    def direct_effects(
        self,
        prompts: Prompts,
        targets: Targets,
        *,
        norm: str = "frozen",
        **encoding: Unpack[Encoding],
    ) -> np.ndarray:
        """What every neuron's own output adds to log p(target) where it enters the stream.

        The log-probability increase of :mod:`negkernel.delta.direct_effects`; no later layer runs.

        Parameters
        ----------
        norm : {"frozen", "recomputed"}
            Whether the final norm keeps the statistic of the model's own final state.

        Returns
        -------
        ndarray [P, L, I]
            In nats.
        """
        request = self._host.encode(prompts, targets, **encoding)
        return readout.direct_effects(self._host, request, norm=norm)

    @guarded
    def rank(self, prompts: Prompts, targets: Targets, **encoding: Unpack[Encoding]) -> np.ndarray:
        """How many tokens the model finds likelier than each target: 0 is its first choice.

        Returns
        -------
        ndarray of int64 [P] or [P, K]
        """
        request = self._host.encode(prompts, targets, **encoding)
        return readout.rank(self._host, request)

    @guarded
    def plan(
        self,
        prompts: Prompts,
        targets: Targets,
        neurons: Any = None,
        shifts: Any = None,
        *,
        axis: str = "magnitude",
        site: str = "paper",
        method: str = "auto",
        check: str | bool = "once",
        resolution: str = "grid",
        calibrate: bool = True,
        position: Position = None,
        **encoding: Unpack[Encoding],
    ) -> Plan:
        """Price a sweep without running it, or gradients where no neurons are given.

        Everything that :meth:`sweep` refuses is refused here.

        Parameters
        ----------
        resolution : {"grid", "spectral"}
            As in :meth:`sweep`. The rows of a "spectral" one are those to be expected.
        calibrate : bool
            Time a few rows of the longest prompt, about a second, to estimate the seconds.

        Returns
        -------
        Plan
            Rows, FLOPs, bytes and seconds.
        """
        request = self._host.encode(prompts, targets, position, **encoding)
        host, resolution = self._host, check_resolution(resolution)
        how, written = {"site": site, "axis": axis}, request.unrolled()
        if neurons is None:
            runner = choose(host, request, Asked(method, host.site(site), check, "gradients"))
            asked = Question(self, written, runner, {"site": site})
            return plan_gradients(asked, calibrate=calibrate)
        pairs, where = host.place(neurons, site)
        widths = where.widths(host.feed_forwards)
        pairs = check_neurons(pairs, len(request), widths, where.noun)
        amounts = check_shifts(shifts, host.precision.state)
        Spot.of(where, axis, amounts)
        runner = choose(host, request, Asked(method, where, check))
        if pairs.ndim == 3:
            pairs = np.repeat(pairs, len(written) // len(request), axis=0)
        grid = neurons if isinstance(neurons, Directions) else pairs, amounts
        asked = Question(self, written, runner, how)
        return plan_sweep(asked, grid, resolution=resolution, calibrate=calibrate)

    @guarded
    def explain(self) -> dict[str, dict[str, int]]:
        """Say how ``method="generic"`` has computed the model's operations so far.

        Returns
        -------
        dict
            "exact": how often each operation had a rule of :mod:`negkernel.methods.generic`;
            "computed twice": those that had none, ``f(b + d) - f(b)`` in float64.
        """
        run = self._host.generic_run
        return {"exact": dict(run.exact), "computed twice": dict(run.fallen)}
