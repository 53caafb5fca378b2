"""Ask for gradients: of every neuron, a layer at a time, or along a path of scales."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Unpack

from negkernel.answers import gradients
from negkernel.answers.asked import How
from negkernel.answers.kept import Keeping
from negkernel.face.model import ModelFace
from negkernel.methods.base import LayerGradients
from negkernel.model.exclusive import guard, guarded, guarded_steps
from negkernel.request.directions import Directions
from negkernel.request.encoding import Encoding
from negkernel.request.positions import Position
from negkernel.request.prompts import Prompts, Targets
from negkernel.results import Gradients


class GradientFace(ModelFace):
    """The questions of :class:`negkernel.Engine` that gradients answer."""

    @guarded
    def gradients(
        self,
        prompts: Prompts,
        targets: Targets,
        neurons: Directions | None = None,
        *,
        site: str = "paper",
        method: str = "auto",
        check: str | bool = "once",
        log: bool = False,
        folder: str | Path | None = None,
        progress: bool | None = None,
        position: Position = None,
        **encoding: Unpack[Encoding],
    ) -> Gradients:
        """Gradient of each target's probability in every feed-forward neuron, or head.

        Prompts that share a beginning share its computation. With ``position="all"`` gradients are
        summed over positions, see :class:`~negkernel.results.Gradients`.

        Parameters
        ----------
        neurons : Directions, optional
            Gradients along these instead.
        method : {"auto", "delta", "generic", "full"}
            "delta": one prefill without a graph and a single-token VJP per label (over all tokens
            in a masked model, labels together); "full": a graph over the whole prompt and one
            backward per label, through the model's modules.
        log : bool
            Gradients of log p instead: the same up to a factor p, but they keep sign and order
            where p itself is too small for its gradient to be a number.
        folder, progress
            As of :meth:`sweep`: results larger than memory, shared work, and going on after a stop.

        Returns
        -------
        Gradients
            ``prob`` [P, K], ``cg`` [P, K, L, I] in probability (nats with ``log``) per unit of
            activation, ``activation`` [P, L, I]; without the axis K when one label a prompt is
            given. With ``site="head"`` I is heads and the gradient is that in the factor of a
            head's output.
        DirectionGradients
            A kind of ``Gradients``, of directions: ``cg`` [P, K, N] per unit of shift.
        """
        request = self._host.encode(prompts, targets, position, **encoding)
        how, keeping = How(site, method, check), Keeping.checked(folder, progress)
        return gradients.gradients(self._host, request, how, neurons, log=log, keeping=keeping)

    def stream_gradients(
        self,
        prompts: Prompts,
        targets: Targets,
        *,
        site: str = "paper",
        method: str = "auto",
        check: str | bool = "once",
        position: Position = None,
        **encoding: Unpack[Encoding],
    ) -> Iterator[LayerGradients]:
        """Gradients as :meth:`gradients` computes them, a layer at a time, left on their device.

        For whoever reduces them at once: nothing of size [P, K, L, I] exists. Malformed input is
        refused at the call.

        Yields
        ------
        LayerGradients
            ``prompts`` (slice), ``layer``, ``prob`` [p, K], ``cg`` [p, K, I] and ``activation``
            [p, I]: tensors, every layer of some prompts, from the last one down where the method
            is "delta", before the next prompts.
        """
        request = self._host.encode(prompts, targets, position, **encoding)
        with guard(self._host.given):
            steps = gradients.by_layer(self._host, request, site=site, method=method, check=check)
        return guarded_steps(self._host.given, steps)

    @guarded
    def path_gradients(
        self,
        prompts: Prompts,
        targets: Targets,
        scales: Sequence[float],
        *,
        site: str = "paper",
        method: str = "auto",
        check: str | bool = "once",
        **encoding: Unpack[Encoding],
    ) -> Gradients:
        """Gradients with a whole layer's neurons scaled, averaged over the scales: see IG.

        Parameters
        ----------
        scales : list of float
            Factors. All neurons of one layer at the probed token are scaled at once, layer by
            layer; 1 is the model as it is.

        Returns
        -------
        Gradients
            ``cg`` is the mean over ``scales`` of dp/da at the scaled layer; ``prob`` and
            ``activation`` are unscaled.
        """
        request = self._host.encode(prompts, targets, **encoding)
        return gradients.path_gradients(
            self._host, request, scales, site=site, method=method, check=check
        )
