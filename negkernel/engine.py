"""The front door: an engine wraps a model and answers sweeps, gradients and interventions."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from negkernel import autograd, backward, path_graph, spectral
from negkernel.borrow import borrowed
from negkernel.delta import Delta, layer_activation
from negkernel.direct import direct_effects
from negkernel.families import Precision, describe
from negkernel.families.hook_sites import feed_forwards
from negkernel.full import Full, probed_logprob
from negkernel.loading import default_memory_budget, load, model_task, prompt_limit
from negkernel.masked import MaskedDelta
from negkernel.masked import describe as describe_masked
from negkernel.methods import Method, Work
from negkernel.neurons import (
    Intervention,
    check_interventions,
    check_neurons,
    check_shifts,
    intervention_rows,
)
from negkernel.plan import Plan, plan
from negkernel.prompts import Prompts, Request, Targets, encode_request
from negkernel.readings import check_metrics
from negkernel.results import Gradients, Interventions, NegMap, Sweep
from negkernel.rows import Rows, sweep_rows
from negkernel.sites import check_axis, resolve_site
from negkernel.spectral import check_tol
from negkernel.suffix import Suffix
from negkernel.trace import trace

log = logging.getLogger(__name__)

METHODS = ("auto", "delta", "suffix", "full")


class Engine:
    """Exact activation shifts and gradients of feed-forward neurons for a Hugging Face model.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        A causal or masked language model, used where it lies and given back unchanged.
    tokenizer : optional
        Its tokenizer; without one, prompts and targets must be token ids.
    task : {"causal", "masked"}, optional
        Taken from the model's architecture by default.
    memory_budget : int, optional
        Bytes of scratch beside the model. Default 1 GiB, never above half of what is free.
    gemm_dtype : torch.dtype, optional
        What matrix products read. Default: the model's dtype on a GPU and for float64; float32 on
        a CPU, which has no faster way. Sums and states are float32 (float64 for float64 models).

    Attributes
    ----------
    model, tokenizer
        As passed in.
    n_layers, n_neurons : int
        Layers, and feed-forward neurons per layer.
    site : str
        What ``site="paper"`` means for this model.
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
        self.task = model_task(model, task)
        self.model = model
        self.tokenizer = tokenizer
        self._config = model.config.get_text_config()
        self._feed_forwards = feed_forwards(model, self._config)
        self.n_layers = len(self._feed_forwards)
        self.n_neurons = self._feed_forwards[0].width
        self._gated = self._feed_forwards[0].gated
        self.site = resolve_site("paper", self._gated)
        self._memory_budget = memory_budget
        self._gemm_dtype = gemm_dtype

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
            Passed on: ``revision``, ``device_map``, ``quantization_config``, ...

        Raises
        ------
        ValueError
            Nothing there to load; the message says what was looked for.
        """
        model, tokenizer = load(path_or_id, dtype=dtype, device=device, task=task, options=options)
        return cls(model, tokenizer, task=task, memory_budget=memory_budget, gemm_dtype=gemm_dtype)

    def sweep(
        self,
        prompts: Prompts,
        targets: Targets,
        neurons: Any,
        shifts: Any,
        *,
        axis: str = "magnitude",
        site: str = "paper",
        resolution: str = "grid",
        tol: float = 1e-3,
        metrics: Sequence[str] = ("logprob",),
        method: str = "auto",
        target_prefix: str = "auto",
        target_encoding: str = "joint",
        mask_index: int | None = None,
    ) -> Sweep:
        """Shift each neuron by each amount and read the target's log-prob, for every prompt.

        Parameters
        ----------
        prompts : list of str, or list of list of int
            P prompts: text (special tokens are added once) or token ids taken verbatim. The last
            token is probed; in a masked model, the mask token.
        targets : list
            One per prompt, str or token id; or K per prompt, which adds an axis K after P to
            every result.
        neurons : int array [N, 2] or [P, N, 2]
            (layer, index), 0-based.
        shifts : float array [J]
            In units of the activation; a factor on the "scale" axis.
        axis : {"magnitude", "signed", "scale", "value"}
            What a shift means, see :mod:`negkernel.sites`.
        site : {"paper", "up", "gate", "post", "pre"}
            Which tensor the neuron is.
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
        target_prefix, target_encoding : str
            How text targets become tokens, see :func:`negkernel.targets.encode_target`.
        mask_index : int, optional
            Which mask token a masked model is probed at, from 0, where a prompt has several.

        Returns
        -------
        Sweep

        Raises
        ------
        ValueError, IndexError
            Malformed input; the message says what was expected.
        NotImplementedError
            ``method="delta"`` on an architecture without a family; the message names "suffix".
        """
        if resolution not in ("grid", "spectral"):
            raise ValueError(f"resolution {resolution!r} is unknown; expected 'grid' or 'spectral'")
        check_tol(tol)
        request = self._encode(prompts, targets, target_prefix, target_encoding, mask_index)
        metrics = check_metrics(metrics, request.K, resolution)
        pairs = check_neurons(neurons, len(request), self.n_layers, self.n_neurons)
        amounts = check_shifts(shifts, self._precision().state)
        site = resolve_site(site, self._gated)
        check_axis(axis)
        runner = self._method(method)
        P, J = len(request), len(amounts)
        per_prompt = torch.from_numpy(pairs).expand(P, -1, 2)
        grid = torch.from_numpy(amounts)
        N = per_prompt.shape[1]

        def rows(first: int, last: int) -> Rows:
            return sweep_rows(per_prompt[first:last], grid)

        more: dict[str, Any] = {}
        if resolution == "spectral":
            found = self._grounds(runner, request, site, axis, mask_index)
            eps = spectral.row_eps(self._precision())
            measured = spectral.measure(
                found, per_prompt.numpy(), amounts, axis=axis, tol=tol, eps=eps
            )
            base, activation, curves = measured.base, measured.activation, measured.change
            error, n_rows = measured.error, measured.rows
        else:
            n_rows = P * N * J
            readings = bool({"kl", "rank"} & set(metrics))
            base, change, activation = self._run(
                runner, request, rows, n_rows, per_prompt, site, axis, readings
            )
            columns = change.reshape(P, N, J, -1).transpose(0, 3, 1, 2)
            curves = columns[:, : request.K]
            if "kl" in metrics:
                more["kl"] = np.ascontiguousarray(columns[:, request.K])
            if "rank" in metrics:
                rank = columns[:, request.K + 1 : -1].astype(np.int64)
                more["rank"] = np.ascontiguousarray(request.squeeze(rank))
                more["top_changed"] = columns[:, -1] > 0
            error = np.zeros((P, request.K, N), dtype=curves.dtype)
        if "logit_diff" in metrics:
            more["logit_diff"] = curves[:, 0] - curves[:, 1]
        return Sweep(
            **request.fields(),
            **self._fields(),
            neurons=pairs,
            shifts=amounts,
            axis=axis,
            site=site,
            method=runner.name,
            resolution=resolution,
            base_logprob=request.squeeze(base),
            logprob_shift=np.ascontiguousarray(request.squeeze(curves)),
            activation=activation,
            error=request.squeeze(error),
            rows=n_rows,
            **more,
        )

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
        folder: str | Path | None = None,
        progress: bool | None = None,
        target_prefix: str = "auto",
        target_encoding: str = "joint",
        mask_index: int | None = None,
    ) -> NegMap:
        """NEG and linearity of every neuron, by spectral sweeps, some layers at a time.

        Parameters
        ----------
        prompts, targets, axis, site, method, target_prefix, target_encoding, mask_index
            As in :meth:`sweep`.
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
            ``neg``, ``pearson``, ``error`` [P, L, I] (an axis K after P for K targets).

        Raises
        ------
        ValueError
            Malformed input, or ``folder`` belongs to another request.
        """
        if not 0 < radius < float("inf"):
            raise ValueError(f"radius is {radius!r}; expected a positive number")
        request = self._encode(prompts, targets, target_prefix, target_encoding, mask_index)
        check_axis(axis)
        check_tol(tol)
        site = resolve_site(site, self._gated)
        runner, precision = self._method(method), self._precision()
        asked: dict[str, Any] = {
            "radius": radius,
            "tol": tol,
            "axis": axis,
            "site": site,
            "method": runner.name,
        }
        size = self.n_layers, self.n_neurons
        dtype = _numpy(precision.state)
        portions = spectral.portions(
            request,
            lambda some: self._grounds(runner, some, site, axis, mask_index),
            size,
            spectral.paper_grid(radius, dtype),
            axis=axis,
            tol=tol,
            eps=spectral.row_eps(precision),
            folder=None if folder is None else Path(folder),
            identity=self._fields() | asked,
            progress=progress,
        )
        found = spectral.collect(portions, request, size, dtype)
        return NegMap(**request.fields(), **self._fields(), **asked, **found)

    def intervene(
        self,
        prompts: Prompts,
        targets: Targets,
        interventions: Sequence[Intervention] | Sequence[Sequence[Intervention]],
        *,
        method: str = "auto",
        target_prefix: str = "auto",
        target_encoding: str = "joint",
        mask_index: int | None = None,
    ) -> Interventions:
        """Apply interventions that shift several neurons, in one or several layers, at once.

        Parameters
        ----------
        prompts, targets, method, target_prefix, target_encoding, mask_index
            As in :meth:`sweep`.
        interventions : list of Intervention, or P lists of them
            R interventions for every prompt, or R for each. A shift in a later layer sees the
            activation as the earlier shifts left it.

        Returns
        -------
        Interventions
            ``base_logprob`` [P] and ``logprob_shift`` [P, R] (an axis K after P for K targets).

        Raises
        ------
        ValueError, IndexError, NotImplementedError
            As in :meth:`sweep`.
        """
        request = self._encode(prompts, targets, target_prefix, target_encoding, mask_index)
        lists = check_interventions(interventions, len(request), self.n_layers, self.n_neurons)
        runner = self._method(method)
        state = self._precision().state
        P, R = len(lists), len(lists[0])
        change = np.empty((P, R, request.K), dtype=_numpy(state))
        base = np.empty((P, request.K), dtype=_numpy(state))
        # A pass serves one site and axis, and the prompts that have interventions of that kind.
        kinds = [[(resolve_site(one.site, self._gated), one.axis) for one in row] for row in lists]
        for kind in sorted({kind for row in kinds for kind in row}):
            chosen = [[i for i, k in enumerate(row) if k == kind] for row in kinds]
            where = [p for p, row in enumerate(chosen) if row]
            picked = [[lists[p][i] for i in chosen[p]] for p in where]

            def rows(first: int, last: int, picked: list[list[Intervention]] = picked) -> Rows:
                return intervention_rows(picked[first:last], state)

            nothing = torch.empty(len(where), 0, 2, dtype=torch.int64)
            base[where], part, _ = self._run(
                runner, request.take(where), rows, sum(map(len, picked)), nothing, *kind
            )
            at = [(p, i) for p in where for i in chosen[p]]
            change[tuple(np.array(at).T)] = part
        curves = change.transpose(0, 2, 1)
        return Interventions(
            **request.fields(),
            **self._fields(),
            method=runner.name,
            base_logprob=request.squeeze(base),
            logprob_shift=np.ascontiguousarray(request.squeeze(curves)),
        )

    def gradients(
        self,
        prompts: Prompts,
        targets: Targets,
        *,
        site: str = "paper",
        method: str = "auto",
        target_prefix: str = "auto",
        target_encoding: str = "joint",
        mask_index: int | None = None,
    ) -> Gradients:
        """Gradient of each target's probability in every feed-forward neuron.

        Parameters
        ----------
        prompts, targets, target_prefix, target_encoding, mask_index
            As in :meth:`sweep`. Prompts that share a beginning share its computation.
        site : {"paper", "up", "gate", "post", "pre"}
            Which tensor the neuron is.
        method : {"auto", "delta", "full"}
            "delta": one prefill without a graph and a single-token VJP per label (over all tokens
            in a masked model, labels together); "full": a graph over the whole prompt and one
            backward per label, through the model's modules.

        Returns
        -------
        Gradients
            ``prob`` [P, K], ``cg`` [P, K, L, I] in probability per unit of activation,
            ``activation`` [P, L, I]; without the axis K when one label a prompt is given.

        Raises
        ------
        ValueError, NotImplementedError
            As in :meth:`sweep`.
        """
        request = self._encode(prompts, targets, target_prefix, target_encoding, mask_index)
        site = resolve_site(site, self._gated)
        no_suffix = method == "suffix" and self.task == "causal"
        runner = self._method("full" if no_suffix else method)
        P, K, L, I = len(request), request.K, self.n_layers, self.n_neurons
        dtype = _numpy(self._precision().state)
        prob, cg = np.empty((P, K), dtype), np.empty((P, K, L, I), dtype)
        activation = np.empty((P, L, I), dtype)
        ids = torch.from_numpy(request.target_ids)
        if isinstance(runner, Delta):
            for first, last in runner.groups(request.tokens):
                base = trace(runner.decoder, request.tokens[first:last], runner.precision)
                chosen = ids[first:last].to(base.logprob.device)
                prob[first:last] = base.logprob.gather(1, chosen).exp().cpu().numpy()
                for layer, gradient in backward.gradients(
                    runner.decoder, base, ids[first:last], site=site, precision=runner.precision
                ):
                    cg[first:last, :, layer] = gradient.cpu().numpy()
                    values = layer_activation(runner.decoder, base, layer, site)
                    activation[first:last, layer] = values.cpu().numpy()
        else:
            if isinstance(runner, MaskedDelta):
                results = runner.gradients(request.tokens, request.positions, ids, site=site)
            else:
                results = autograd.gradients(
                    self.model,
                    self._feed_forwards,
                    request.tokens,
                    request.positions,
                    ids,
                    site=site,
                )
            for p, (logprob, values, gradient) in enumerate(results):
                prob[p], activation[p] = logprob.exp().numpy(), values.numpy()
                cg[p] = gradient.numpy()
        return Gradients(
            **request.fields(),
            **self._fields(),
            site=site,
            prob=request.squeeze(prob),
            cg=request.squeeze(cg),
            activation=activation,
        )

    def path_gradients(
        self,
        prompts: Prompts,
        targets: Targets,
        scales: Sequence[float],
        *,
        site: str = "paper",
        method: str = "auto",
        target_prefix: str = "auto",
        target_encoding: str = "joint",
        mask_index: int | None = None,
    ) -> Gradients:
        """Gradients with a whole layer's neurons scaled, averaged over the scales: see IG.

        Parameters
        ----------
        prompts, targets, site, method, target_prefix, target_encoding, mask_index
            As in :meth:`gradients`.
        scales : list of float
            Factors. All neurons of one layer at the probed token are scaled at once, layer by
            layer; 1 is the model as it is.

        Returns
        -------
        Gradients
            ``cg`` is the mean over ``scales`` of dp/da at the scaled layer; ``prob`` and
            ``activation`` are unscaled.

        Raises
        ------
        ValueError, NotImplementedError
            As in :meth:`sweep`.
        """
        request = self._encode(prompts, targets, target_prefix, target_encoding, mask_index)
        site = resolve_site(site, self._gated)
        factors = [float(scale) for scale in check_shifts(scales, torch.float64)]
        causal = self.task == "causal"
        runner = self._method("full" if method == "suffix" and causal else method)
        plain = self.gradients(
            request.tokens,
            request.target_ids.tolist(),
            site=site,
            method=method,
            mask_index=mask_index,
        )
        cg = plain.cg
        for p, tokens in enumerate(request.tokens):
            ids = torch.from_numpy(request.target_ids[p])
            if isinstance(runner, Delta):
                layers = runner.path_gradients(tokens, ids, factors, site)
            else:
                layers = path_graph.path_gradients(
                    self.model,
                    self._feed_forwards,
                    tokens,
                    request.positions[p],
                    ids,
                    factors,
                    site=site,
                )
            for layer, gradient in layers:
                cg[p, :, layer] = gradient.cpu().numpy()
        return Gradients(
            **request.fields(),
            **self._fields(),
            site=site,
            prob=request.squeeze(plain.prob),
            cg=request.squeeze(cg),
            activation=plain.activation,
        )

    def direct_effects(
        self,
        prompts: Prompts,
        targets: Targets,
        *,
        norm: str = "frozen",
        target_prefix: str = "auto",
        target_encoding: str = "joint",
    ) -> np.ndarray:
        """What every neuron's own output adds to log p(target) where it enters the stream.

        The log-probability increase of :mod:`negkernel.direct`; no later layer runs.

        Parameters
        ----------
        prompts, targets, target_prefix, target_encoding
            As in :meth:`sweep`.
        norm : {"frozen", "recomputed"}
            Whether the final norm keeps the statistic of the model's own final state.

        Returns
        -------
        ndarray [P, L, I]
            In nats (an axis K after P for K targets).

        Raises
        ------
        ValueError, NotImplementedError
            Malformed input, or an architecture whose neurons add no vector of their own.
        """
        request = self._encode(prompts, targets, target_prefix, target_encoding, None)
        runner = self._method("delta")
        if not isinstance(runner, Delta):
            raise NotImplementedError(
                "the log-probability increase reads the residual stream of a causal model; this "
                "one is masked"
            )
        P, K, L, I = len(request), request.K, self.n_layers, self.n_neurons
        increase = np.empty((P, K, L, I), _numpy(self._precision().state))
        ids = torch.from_numpy(request.target_ids)
        for first, last in runner.groups(request.tokens):
            base = trace(runner.decoder, request.tokens[first:last], runner.precision)
            for layer, values in direct_effects(
                runner.decoder, base, ids[first:last], norm=norm, precision=runner.precision
            ):
                increase[first:last, :, layer] = values.cpu().numpy()
        return request.squeeze(increase)

    def rank(
        self,
        prompts: Prompts,
        targets: Targets,
        *,
        target_prefix: str = "auto",
        target_encoding: str = "joint",
        mask_index: int | None = None,
    ) -> np.ndarray:
        """How many tokens the model finds likelier than each target: 0 is its first choice.

        Parameters
        ----------
        prompts, targets, target_prefix, target_encoding, mask_index
            As in :meth:`sweep`.

        Returns
        -------
        ndarray of int64 [P] or [P, K]
        """
        request = self._encode(prompts, targets, target_prefix, target_encoding, mask_index)
        ranks = np.empty((len(request), request.K), dtype=np.int64)
        with torch.no_grad(), borrowed(self.model) as rotary:
            for p, (tokens, position) in enumerate(
                zip(request.tokens, request.positions, strict=True)
            ):
                rotary.restore()
                logprob = probed_logprob(self.model, torch.tensor([list(tokens)]), position)[0]
                own = logprob[torch.from_numpy(request.target_ids[p]).to(logprob.device)]
                ranks[p] = (logprob > own[:, None]).sum(1).cpu().numpy()
        return request.squeeze(ranks)

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
        target_prefix: str = "auto",
        target_encoding: str = "joint",
        mask_index: int | None = None,
        calibrate: bool = True,
    ) -> Plan:
        """Price a sweep without running it, or gradients where no neurons are given.

        Everything that :meth:`sweep` refuses is refused here.

        Parameters
        ----------
        prompts, targets, neurons, shifts, axis, site, method, target_prefix, target_encoding
            As in :meth:`sweep`.
        calibrate : bool
            Time a few rows of the longest prompt, about a second, to estimate the seconds.

        Returns
        -------
        Plan
            Rows, FLOPs, bytes and seconds.
        """
        request = self._encode(prompts, targets, target_prefix, target_encoding, mask_index)
        state = self._precision().state
        if neurons is not None:
            neurons = check_neurons(neurons, len(request), self.n_layers, self.n_neurons)
            shifts = check_shifts(shifts, state)
        return plan(
            self,
            request,
            neurons,
            shifts,
            axis=check_axis(axis),
            site=resolve_site(site, self._gated),
            method=self._method(method).name,
            budget=self._budget(),
            itemsize=state.itemsize,
            calibrate=calibrate,
        )

    def _encode(
        self,
        prompts: Prompts,
        targets: Targets,
        target_prefix: str,
        target_encoding: str,
        mask_index: int | None,
    ) -> Request:
        return encode_request(
            prompts,
            targets,
            self.tokenizer,
            vocabulary=self._config.vocab_size,
            max_length=prompt_limit(self._config),
            target_prefix=target_prefix,
            target_encoding=target_encoding,
            mask_id=self._mask_id(mask_index),
            mask_index=mask_index,
        )

    def _mask_id(self, mask_index: int | None) -> int | None:
        """Token that a masked model is probed at, None for a causal one."""
        if self.task == "causal":
            if mask_index is not None:
                raise ValueError(
                    "mask_index is for masked models; this one is causal and probed at the last "
                    "token. Leave it out"
                )
            return None
        mask_id = getattr(self.tokenizer, "mask_token_id", None)
        if mask_id is None:
            raise ValueError(
                "a masked model is probed at its mask token, which the tokenizer tells; pass "
                "Engine(model, tokenizer) with a tokenizer that has one"
            )
        return int(mask_id)

    def _run(
        self,
        runner: Method,
        request: Request,
        rows: Callable[[int, int], Rows],
        n_rows: int,
        neurons: torch.Tensor,
        site: str,
        axis: str,
        readings: bool = False,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Base log-probs [P, K], changes [rows, K] and activations [P, N] of all prompts.

        With ``readings`` the changes have the columns of :mod:`negkernel.readings`.
        """
        if readings and isinstance(runner, MaskedDelta):
            raise NotImplementedError(
                "KL and rank of a masked model are not read by method='delta'; pass method='full'"
            )
        targets = torch.from_numpy(request.target_ids)
        spelling = torch.from_numpy(request.spelling_ids)
        watched = torch.cat([targets, torch.where(spelling < 0, targets, spelling)], dim=1)
        work = Work(
            tokens=request.tokens,
            positions=request.positions,
            targets=targets,
            watched=watched,
            rows=rows,
            neurons=neurons,
            site=site,
            axis=axis,
            readings=readings,
        )
        dtype = _numpy(self._precision().state)
        base = np.empty((len(request), 2 * request.K), dtype)
        change = np.empty((n_rows, 2 * request.K + 2 if readings else request.K), dtype)
        activation = np.empty((len(request), neurons.shape[1]), dtype)
        done = 0
        for part in runner.run(work):
            base[part.first : part.last] = part.base_logprob.numpy()
            activation[part.first : part.last] = part.activation.numpy()
            change[done : done + len(part.logprob_shift)] = part.logprob_shift.numpy()
            done += len(part.logprob_shift)
        _report_spelling(request, base)
        return base[:, : request.K], change, activation

    def _grounds(
        self, runner: Method, request: Request, site: str, axis: str, mask_index: int | None
    ) -> Iterator[spectral.Ground]:
        """All prompts, each computed once, ready for a spectral sweep."""

        def gradients(one: Request) -> Gradients:
            return self.gradients(
                one.tokens,
                one.target_ids.tolist(),
                site=site,
                method=runner.name,
                mask_index=mask_index,
            )

        return spectral.grounds(runner, request, gradients, site=site, axis=axis)

    def _method(self, name: str) -> Method:
        """Return the method called ``name``; "auto" takes the best that serves the model."""
        if name not in METHODS:
            raise ValueError(
                f"method {name!r} is unknown; expected one of {', '.join(map(repr, METHODS))}"
            )
        budget = self._budget()
        if self.task == "masked":
            return self._masked_method(name, budget)
        if name in ("auto", "delta"):
            precision = self._precision()
            try:
                delta = Delta(describe(self.model, precision), precision, budget)
            except NotImplementedError as reason:
                if name == "delta":
                    raise
                log.info("method suffix: %s", reason)
                return Suffix(self.model, self._feed_forwards, budget)
            if name == "auto":
                log.info("method delta: %s is a known family", self.model.config.model_type)
            return delta
        if name == "suffix":
            return Suffix(self.model, self._feed_forwards, budget)
        return Full(self.model, self._feed_forwards)

    def _masked_method(self, name: str, budget: int) -> Method:
        if name == "suffix":
            raise ValueError(
                "method 'suffix' keeps the prefix's keys and values, which a masked model's shift "
                "changes; expected 'auto', 'delta' or 'full'"
            )
        if name in ("auto", "delta"):
            precision = self._precision()
            try:
                delta = MaskedDelta(describe_masked(self.model, precision), precision, budget)
            except NotImplementedError as reason:
                if name == "delta":
                    raise
                log.info("method full: %s", reason)
            else:
                if name == "auto":
                    log.info("method delta: %s is a known family", self.model.config.model_type)
                return delta
        return Full(self.model, self._feed_forwards)

    def _precision(self) -> Precision:
        dtype = self.model.dtype
        state = torch.float64 if dtype == torch.float64 else torch.float32
        operand = self._gemm_dtype
        if operand is None:
            operand = dtype if self.model.device.type == "cuda" else state
        return Precision(state=state, operand=operand)

    def _budget(self) -> int:
        return self._memory_budget or default_memory_budget(self.model.device)

    def _fields(self) -> dict[str, Any]:
        """The part of a result that describes the model."""
        return {
            "model": self.model.config.name_or_path or type(self.model).__name__,
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "task": self.task,
        }

    def __repr__(self) -> str:
        return (
            f"Engine({type(self.model).__name__}, {self.n_layers} layers x {self.n_neurons} "
            f"neurons, {str(self.model.dtype).removeprefix('torch.')} on {self.model.device}, "
            f"site={self.site!r})"
        )


def _numpy(dtype: torch.dtype) -> type[np.float32] | type[np.float64]:
    return np.float64 if dtype == torch.float64 else np.float32


def _report_spelling(request: Request, base: np.ndarray) -> None:
    """Log once when targets are likelier with the other choice of leading space."""
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
