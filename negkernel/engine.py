"""The front door: an engine wraps a model and answers sweeps, gradients and interventions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import torch

from negkernel.answers import gradients, intervene, neg_map, patch, readout, sweep
from negkernel.answers.plan import Plan, plan_gradients, plan_sweep
from negkernel.handle import Host
from negkernel.judge.choice import METHODS as METHODS
from negkernel.judge.choice import Asked, choose
from negkernel.judge.trial import stand_in
from negkernel.methods.base import LayerGradients
from negkernel.model.exclusive import guard, guarded, guarded_steps
from negkernel.model.loading import load
from negkernel.request.encoding import Encoding
from negkernel.request.neurons import Intervention, check_neurons, check_shifts, every_neuron
from negkernel.request.positions import Position
from negkernel.request.prompts import Prompts, Targets
from negkernel.results import Gradients, Interventions, NegMap, Patches, Sweep
from negkernel.sites import check_axis
from negkernel.spectral import check_resolution


class Engine:
    """Exact activation shifts and gradients of feed-forward neurons for a Hugging Face model.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        A causal or masked language model, used where it lies and given back unchanged; or what
        another library wraps around one, see :func:`negkernel.adapt`.
    tokenizer : optional
        Its tokenizer, by default the wrapper's; without one, prompts and targets must be token ids.
    task : {"causal", "masked"}, optional
        Taken from the model's architecture by default.
    memory_budget : int, optional
        Bytes of scratch beside the model. Default 1 GiB on a CPU and 6 on a GPU, never above half
        of what is free.
    gemm_dtype : torch.dtype, optional
        What matrix products of differences read. Default: the model's dtype on a GPU and for
        float64; float32 on a CPU. Sums, states and gradients, and all products of these, are
        float32 (float64 for float64 models). On a CPU
        ``torch.bfloat16`` rounds what is multiplied to 8 bits, and runs at twice the rate of
        float32 where the processor has avx512_bf16; the weights of a bfloat16 model are then read
        as they lie, and lose nothing. ``python -m bench sweep`` times it. Elsewhere, and for
        ``torch.float16``, operands are rounded and multiplied in float32, which saves no time.

    Attributes
    ----------
    model
        The Hugging Face model that was passed in, alone or wrapped.
    tokenizer
        What its prompts are read with, or None.

    Notes
    -----
    Questions share what they take: ``prompts``, ``targets``, ``site``, ``method`` and ``check``
    are described at :meth:`sweep`, the keywords ``**encoding`` at
    :class:`negkernel.request.encoding.Encoding`. Each raises ValueError or IndexError for malformed
    input, TypeError for an unknown keyword, and NotImplementedError where the method asked for
    cannot serve the model; the message says what was expected. An axis K follows P in every
    result where K targets a prompt are given.

    A model that is changed between calls is seen as it is at each call. Calls from several threads
    wait for each other, and torch's autocast, inference mode and default device are off inside.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any = None,
        *,
        task: str | None = None,
        memory_budget: int | None = None,
        gemm_dtype: torch.dtype | None = None,
    ):
        self._host = Host(
            model, tokenizer, task=task, memory_budget=memory_budget, gemm_dtype=gemm_dtype
        )
        self.tokenizer = self._host.tokenizer
        self.task = self._host.task

    @classmethod
    def from_pretrained(
        cls,
        path_or_id: str,
        *,
        dtype: str | torch.dtype = "auto",
        device: str | torch.device | None = None,
        task: str | None = None,
        memory_budget: int | None = None,
        gemm_dtype: torch.dtype | None = None,
        **options: Any,
    ) -> Engine:
        """Load a model and its tokenizer as the ``AutoModelFor...LM`` of its task would.

        Parameters
        ----------
        path_or_id : str
            A folder or a Hub id.
        dtype : str or torch.dtype
            "auto" keeps the checkpoint's.
        device : str or torch.device, optional
            Where to put the model; leave it out when passing ``device_map``.
        **options
            Passed on: ``revision``, ``device_map``, ``quantization_config``,
            ``gguf_file`` (a GGUF file in that place, dequantized; needs the package gguf), ...

        Raises
        ------
        ValueError
            Nothing there to load; the message says what was looked for.
        """
        model, tokenizer = load(path_or_id, dtype=dtype, device=device, task=task, options=options)
        return cls(model, tokenizer, task=task, memory_budget=memory_budget, gemm_dtype=gemm_dtype)

    @guarded
    def sweep(
        self,
        prompts: Prompts,
        targets: Targets,
        neurons: Any,
        shifts: Any = None,
        *,
        axis: str = "magnitude",
        site: str = "paper",
        resolution: str = "grid",
        tol: float = 1e-3,
        metrics: Sequence[str] = ("logprob",),
        method: str = "auto",
        check: str | bool = "once",
        position: Position = None,
        **encoding: Unpack[Encoding],
    ) -> Sweep:
        """Shift each neuron by each amount and read the target's log-prob, for every prompt.

        Parameters
        ----------
        prompts : list
            P prompts: text (special tokens are added once), token ids taken verbatim, or lists of
            chat messages (through the tokenizer's template); or what a tokenizer returns, padding
            taken off. The last token is probed; in a masked model, the mask token.
        targets : list
            One per prompt, str or token id; or K per prompt.
        neurons : int array [N, 2] or [P, N, 2]
            (layer, index), 0-based; or places of other libraries with all their neurons, or
            ``{place: indices}``, see :mod:`negkernel.request.places`.
        shifts : float array [J]
            In units of the activation; a factor on the "scale" axis. None for ablations.
        axis : {"magnitude", "signed", "scale", "value"}
            What a shift means, see :mod:`negkernel.sites`. "add" and "replace" are other names of
            "signed" and "value"; "zero_ablation" and "mean_ablation" put 0 or the neuron's mean
            over the prompts in its place.
        site : {"paper", "up", "gate", "post", "pre"}
            Which tensor the neuron is; or a place such as "blocks.3.mlp.hook_post".
        resolution : {"grid", "spectral"}
            "grid" computes every shift; "spectral" interpolates each curve from a few rows,
            refined where its estimated error asks for it (:mod:`negkernel.spectral`).
        tol : float
            Of "spectral": relative error of a curve and of its NEG.
        metrics : list of {"logprob", "logit_diff", "kl", "rank"}
            What to read beside log p: the change of the logit difference of two targets, the KL
            divergence from the base distribution, the target's rank (and whether the likeliest
            token is another one). The last two take a grid.
        method : {"auto", "delta", "suffix", "full"}
            "full" runs a whole forward per row, "suffix" last tokens on the prefix KV, "delta"
            the difference form. "auto" takes the best that serves the model and logs which.
        check : {"once", "each", False}
            Hold the method against at most three plain forwards of the model, once for each state
            of the model (or for "each" prompt): where they disagree the method is refused.
        position : int, list of P int, or "all", optional
            Token of each prompt where neurons are shifted, negative ones from the end, or every
            one; by default the probed one, where the answer is read in any case.
        **encoding
            How text becomes tokens, see :class:`negkernel.request.encoding.Encoding`.
        """
        request = self._host.encode(prompts, targets, position, **encoding)
        return sweep.sweep(
            self._host,
            request,
            neurons,
            shifts,
            axis=axis,
            site=site,
            resolution=resolution,
            tol=tol,
            metrics=metrics,
            method=method,
            check=check,
        )

    @guarded
    def neg_map(
        self,
        prompts: Prompts,
        targets: Targets,
        *,
        radius: float = 2.0,
        tol: float = 1e-3,
        axis: str = "magnitude",
        site: str = "paper",
        method: str = "auto",
        check: str | bool = "once",
        folder: str | Path | None = None,
        progress: bool | None = None,
        position: Position = None,
        **encoding: Unpack[Encoding],
    ) -> NegMap:
        """NEG and linearity of every neuron, by spectral sweeps, some layers at a time.

        Parameters
        ----------
        radius : float
            NEG and Pearson's r are those of 100 even shifts within ``[-radius, radius]``, zero
            excluded: the paper's protocol.
        tol : float
            Relative error of a curve and of its NEG.
        folder : path, optional
            Keep finished portions there. A run that was interrupted takes them up again;
            damaged ones are found by their checksum and computed again.
        progress : bool, optional
            Show a progress bar; by default on a terminal.

        Returns
        -------
        NegMap
            ``neg``, ``pearson``, ``error`` [P, L, I].

        Raises
        ------
        ValueError
            ``folder`` belongs to another request.
        """
        request = self._host.encode(prompts, targets, position, **encoding)
        return neg_map.neg_map(
            self._host,
            request,
            radius=radius,
            tol=tol,
            axis=axis,
            site=site,
            method=method,
            check=check,
            folder=folder,
            progress=progress,
        )

    @guarded
    def intervene(
        self,
        prompts: Prompts,
        targets: Targets,
        interventions: Sequence[Intervention] | Sequence[Sequence[Intervention]],
        *,
        method: str = "auto",
        check: str | bool = "once",
        position: Position = None,
        **encoding: Unpack[Encoding],
    ) -> Interventions:
        """Apply interventions that shift several neurons, in one or several layers, at once.

        Parameters
        ----------
        interventions : list of Intervention, or P lists of them
            R interventions for every prompt, or R for each. A shift in a later layer sees the
            activation as the earlier shifts left it.

        Returns
        -------
        Interventions
            ``base_logprob`` [P] and ``logprob_shift`` [P, R].
        """
        request = self._host.encode(prompts, targets, position, **encoding)
        return intervene.intervene(self._host, request, interventions, method=method, check=check)

    @guarded
    def patch(
        self,
        prompts: Prompts,
        sources: Prompts,
        targets: Targets,
        neurons: Any = None,
        *,
        site: str = "paper",
        method: str = "auto",
        check: str | bool = "once",
        folder: str | Path | None = None,
        **encoding: Unpack[Encoding],
    ) -> Patches:
        """Give each neuron alone the value it has on a source prompt: exact activation patching.

        Parameters
        ----------
        sources : list
            One for each prompt, in any form that prompts have, of any length.
        neurons : int array [N, 2], optional
            By default all.
        folder : path, optional
            Keep finished portions there, as of :meth:`neg_map`.

        Returns
        -------
        Patches
            ``logprob_shift`` and the first-order ``logprob_estimate``, [P, N].
        """
        request = self._host.encode(prompts, targets, **encoding)
        return patch.patch(
            self._host,
            request,
            sources,
            neurons,
            site=site,
            method=method,
            check=check,
            folder=folder,
            encoding=encoding,
        )

    @guarded
    def gradients(
        self,
        prompts: Prompts,
        targets: Targets,
        *,
        site: str = "paper",
        method: str = "auto",
        check: str | bool = "once",
        log: bool = False,
        position: Position = None,
        **encoding: Unpack[Encoding],
    ) -> Gradients:
        """Gradient of each target's probability in every feed-forward neuron.

        Prompts that share a beginning share its computation. With ``position="all"`` gradients are
        summed over positions, see :class:`~negkernel.results.Gradients`.

        Parameters
        ----------
        method : {"auto", "delta", "full"}
            "delta": one prefill without a graph and a single-token VJP per label (over all tokens
            in a masked model, labels together); "full": a graph over the whole prompt and one
            backward per label, through the model's modules.
        log : bool
            Gradients of log p instead: the same up to a factor p, but they keep sign and order
            where p itself is too small for its gradient to be a number.

        Returns
        -------
        Gradients
            ``prob`` [P, K], ``cg`` [P, K, L, I] in probability (nats with ``log``) per unit of
            activation, ``activation`` [P, L, I]; without the axis K when one label a prompt is
            given.
        """
        request = self._host.encode(prompts, targets, position, **encoding)
        return gradients.gradients(
            self._host, request, site=site, method=method, check=check, log=log
        )

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
        how = {"site": site, "axis": check_axis(axis)}
        if neurons is None:
            runner = choose(host, request, Asked(method, host.site(site), check, "gradients"))
            return plan_gradients(self, request, runner, {"site": site}, calibrate=calibrate)
        pairs, where = host.place(neurons, site)
        grid = (
            check_neurons(pairs, len(request), self.widths),
            check_shifts(shifts, host.precision.state),
        )
        runner = choose(host, request, Asked(method, where, check))
        return plan_sweep(
            self, request, runner, grid, how, resolution=resolution, calibrate=calibrate
        )

    @property
    def model(self) -> Any:
        """The Hugging Face model itself."""
        return self._host.model

    @property
    def n_layers(self) -> int:
        """Layers of the model."""
        return self._host.n_layers

    @property
    def widths(self) -> np.ndarray:
        """Feed-forward neurons of each layer, int64 [L]."""
        return self._host.widths

    @property
    def neurons(self) -> np.ndarray:
        """(layer, index) of every neuron of the model, layer by layer, int64 [N, 2]."""
        return every_neuron(self.widths)

    @property
    def n_neurons(self) -> int:
        """Feed-forward neurons of a layer, of the widest where layers differ."""
        return self._host.n_neurons

    @property
    def site(self) -> str:
        """What ``site="paper"`` means for this model."""
        return self._host.site("paper").name

    @guarded
    def method_for(self, method: str = "auto", *, check: str | bool = "once") -> str:
        """Return the method that ``method`` comes to for this model.

        Parameters
        ----------
        method, check
            As in :meth:`sweep`; without a check no forward runs, and weights are not read.

        Raises
        ------
        ValueError, NotImplementedError
            Unknown, or not able to serve the model; the message says why.
        """
        host = self._host
        host.look()
        request = stand_in(host.config.vocab_size)
        return choose(host, request, Asked(method, host.site("paper"), check)).name

    @property
    def memory_budget(self) -> int | None:
        """Bytes of scratch asked for; None leaves it to what is free."""
        return self._host.memory_budget

    def __repr__(self) -> str:
        return (
            f"Engine({type(self.model).__name__}, {self.n_layers} layers x {self.n_neurons} "
            f"neurons, {str(self.model.dtype).removeprefix('torch.')} on {self.model.device}, "
            f"site={self.site!r})"
        )
