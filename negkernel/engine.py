"""The front door: an engine wraps a model and answers sweeps, gradients and interventions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Unpack

from negkernel.answers import intervene, neg_map, patch, sweep
from negkernel.answers.asked import Curves, How
from negkernel.answers.kept import Keeping
from negkernel.face.edits import EditFace
from negkernel.face.gradients import GradientFace
from negkernel.face.readings import ReadingFace
from negkernel.model.exclusive import guarded
from negkernel.request.encoding import Encoding
from negkernel.request.neurons import Intervention
from negkernel.request.positions import Position
from negkernel.request.prompts import Prompts, Targets
from negkernel.results import Interventions, NegMap, Patches, Sweep


class Engine(ReadingFace, GradientFace, EditFace):
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
        folder: str | Path | None = None,
        progress: bool | None = None,
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
        neurons : int array [N, 2] or [P, N, 2], or Directions
            (layer, index), 0-based; or places of other libraries with all their neurons, or
            ``{place: indices}``, see :mod:`negkernel.request.places`; or directions to shift along.
        shifts : float array [J]
            In units of the activation; a factor on the "scale" axis. None for ablations.
        axis : {"magnitude", "signed", "scale", "value"}
            What a shift means, see :mod:`negkernel.sites`. "add" and "replace" are other names of
            "signed" and "value"; "zero_ablation" and "mean_ablation" put 0 or the neuron's mean
            over the prompts in its place.
        site : {"paper", "up", "gate", "post", "pre", "head"}
            Which tensor the neuron is; or a place such as "blocks.3.mlp.hook_post". At "head" they
            are (layer, head), with axis "scale" (-1 ablates) or "value" (0), see
            :class:`negkernel.sites.head.Head`.
        resolution : {"grid", "spectral"}
            "grid" computes every shift; "spectral" interpolates each curve from a few rows,
            refined where its estimated error asks for it (:mod:`negkernel.spectral`).
        tol : float
            Of "spectral": relative error of a curve and of its NEG.
        metrics : list of {"logprob", "logit_diff", "kl", "rank"}
            What to read beside log p: the change of the logit difference of two targets, the KL
            divergence from the base distribution, the target's rank (and whether the likeliest
            token is another one). The last two take a grid.
        method : {"auto", "delta", "generic", "suffix", "full"}
            "full" runs a whole forward per row, "suffix" last tokens on the prefix KV, "delta"
            the difference form of a known family, "generic" that of any model's own modules
            (:mod:`negkernel.methods.generic`). "auto" takes the best that serves and logs which.
        check : {"once", "each", False}
            Hold the method against at most three plain forwards of the model, once for each state
            of the model (or for "each" prompt): where they disagree the method is refused.
        folder : path, optional
            Compute shard by shard, keep each there, and leave it there: memory does not grow with
            the prompts. Arrays of the result are read when they are first looked at;
            :meth:`Sweep.open` goes through the folder a few prompts at a time. The same call takes
            an interrupted one up again, and any number of processes that make it share the work;
            a damaged shard is found by its checksum and computed again. Results have the bits of
            one process with that folder, and may differ in the last ones from those without.
        progress : bool, optional
            Show a progress bar; by default on a terminal.
        position : int, list of P int, or "all", optional
            Token of each prompt where neurons are shifted, negative ones from the end, or every
            one; by default the probed one, where the answer is read in any case.
        **encoding
            How text becomes tokens, see :class:`negkernel.request.encoding.Encoding`.

        Raises
        ------
        ValueError
            Malformed input; ``folder`` belongs to another request or model, or, where something
            is left to compute, to another version or kind of device.
        """
        request = self._host.encode(prompts, targets, position, **encoding)
        how, fine = How(site, method, check, axis), Curves(resolution, tol, metrics)
        keeping = Keeping.checked(folder, progress)
        return sweep.sweep(self._host, request, neurons, shifts, how, fine, keeping)

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
        """NEG and linearity of every neuron from a few rows each, some layers at a time.

        Most neurons take both ends of the range, those that hardly bend none, and the others as
        many as their NEG needs; neurons drawn at random take more and show whether that holds.

        Parameters
        ----------
        radius : float
            NEG and Pearson's r are those of 100 even shifts within ``[-radius, radius]``, zero
            excluded: the paper's protocol.
        tol : float
            Error of NEG, relative to itself or to 1 % of its layer's median |NEG| where that is
            more.
        folder, progress
            As of :meth:`sweep`.

        Returns
        -------
        NegMap
            ``neg``, ``neg_error``, ``pearson``, ``error``, ``neuron_rows`` [P, L, I].

        Raises
        ------
        ValueError
            ``folder`` belongs to another request.
        """
        request = self._host.encode(prompts, targets, position, **encoding)
        return neg_map.neg_map(
            self._host,
            request,
            How(site, method, check, axis),
            radius=radius,
            tol=tol,
            keeping=Keeping.checked(folder, progress),
        )

    @guarded
    def intervene(
        self,
        prompts: Prompts,
        targets: Targets,
        interventions: Sequence[Intervention] | Sequence[Sequence[Intervention]],
        *,
        metrics: Sequence[str] = ("logprob",),
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
        metrics : list of {"logprob", "kl"}
            What to read beside log p, as in :meth:`sweep`.

        Returns
        -------
        Interventions
            ``base_logprob`` [P] and ``logprob_shift`` [P, R].
        """
        request = self._host.encode(prompts, targets, position, **encoding)
        return intervene.intervene(
            self._host, request, interventions, metrics=metrics, method=method, check=check
        )

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
            How(site, method, check),
            folder=folder,
            encoding=encoding,
        )
