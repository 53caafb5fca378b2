"""A job with its model: what is computed, in which shards, at what price."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import torch

from negkernel import Engine, Gradients, Sweep
from negkernel.answers.plan import Plan
from negkernel.model.environment import environment, identity
from negkernel.request.neurons import check_shifts
from negkernel.results.manifest import Manifest
from negkernel.results.shards import Shard, rows_per_shard, split, split_prompts
from negkernel.sites import resolve_site
from neurgrad.cli.errors import blame, refuse
from neurgrad.cli.reading.job import Job
from neurgrad.cli.reading.models import apply_chat, load_engine


class Session:
    """A job whose model is loaded and whose input has been checked against it.

    Parameters
    ----------
    job : Job
        What was asked for.

    Attributes
    ----------
    engine : Engine
    prompts : list of str
        In the chat template where the job asks for it.
    fixed : int array [N, 2] or None
        The neurons, unless they depend on the prompt.
    shards : list of Shard
        The parts of the computation, in order.
    unit : str
        What progress is counted in: "row" of a sweep, "prompt" of gradients.

    Raises
    ------
    typer.BadParameter
        An option that does not fit the model.
    """

    def __init__(self, job: Job):
        self.job = job
        asked = job.asked
        self.engine: Engine = load_engine(asked)
        self.prompts = apply_chat(self.engine, job.prompts) if job.asked.chat else job.prompts
        with blame("--site", job.asked.site):
            resolve_site(job.asked.site, gated=self.engine.site == "up")
        with blame("--neurons", job.asked.neurons):
            self.fixed = job.neurons.fixed(self.engine, job.asked.seed)
            self._N = job.neurons.count(self.engine)
        if job.shifts is not None:
            double = self.engine.model.dtype == torch.float64
            with blame("--shifts", job.settings()["--shifts"]):
                check_shifts(job.shifts, torch.float64 if double else torch.float32)
        self._check_prompts()
        self.unit = "prompt" if job.shifts is None else "row"
        if job.shifts is None:  # of all neurons, whichever of them are shown
            each = 16 * self.engine.n_layers * self.engine.n_neurons
            self.shards = split_prompts(len(self.prompts), each)
        else:
            most = rows_per_shard(sum(p.numel() for p in self.engine.model.parameters()))
            self.shards = split(len(self.prompts), self._N, len(job.shifts), most)

    @property
    def manifest(self) -> Manifest:
        """What a folder of this job's shards says that it holds."""
        names = [shard.name for shard in self.shards]
        return Manifest.of(self.kind.kept_as, self.settings(), environment(self.engine), names)

    @property
    def kind(self) -> type[Sweep] | type[Gradients]:
        """What a shard and the whole result are."""
        return Gradients if self.job.shifts is None else Sweep

    def units(self, shard: Shard) -> int:
        """Return how much a shard is, in ``unit``."""
        return shard.pairs * (1 if self.job.shifts is None else len(self.job.shifts))

    def settings(self) -> dict[str, Any]:
        """Return everything that the results depend on."""
        asked = json.dumps([self.prompts, self.job.targets]).encode()
        return {
            **self.job.settings(),
            "--prompts": hashlib.sha256(asked).hexdigest(),
            **identity(self.engine),
        }

    def plan(self, *, calibrate: bool) -> Plan:
        """Price the job; of ``top:N`` by the strongest neurons of the first prompt."""
        job = self.job
        if job.shifts is None:
            return self.engine.plan(self.prompts, job.targets, calibrate=calibrate, **self._how)
        neurons = self.fixed if self.fixed is not None else self._strongest(0, 1)[0]
        return self.engine.plan(
            self.prompts,
            job.targets,
            neurons,
            job.shifts,
            **self._curve,
            calibrate=calibrate,
            **self._how,
        )

    def compute(self, shard: Shard) -> Sweep | Gradients:
        """Compute one shard."""
        job, (p, q) = self.job, shard.prompts
        if job.shifts is None or shard.neurons is None:
            return self._gradients(p, q)
        neurons = self.fixed if self.fixed is not None else self._strongest(p, q)
        neurons = neurons[..., slice(*shard.neurons), :]
        return self.engine.sweep(
            self.prompts[p:q],
            job.targets[p:q],
            neurons,
            job.shifts,
            **self._curve,
            tol=job.settings()["--tol"],
            **self._how,
        )

    @property
    def _curve(self) -> dict[str, Any]:
        """What a sweep, or its price, is asked with beside its shifts."""
        settings = self.job.settings()
        return {"axis": settings["--axis"], "resolution": settings["--resolution"]}

    @property
    def _how(self) -> dict[str, Any]:
        """What every question to the engine is asked with."""
        job = self.job
        return {
            "site": job.asked.site,
            "position": job.position,
            "method": job.asked.method,
            "target_prefix": job.asked.target_prefix,
            "target_tokens": job.asked.target_tokens,
            "mask_index": job.asked.mask_index,
        }

    def _gradients(self, first: int, last: int) -> Gradients:
        return self.engine.gradients(
            self.prompts[first:last], self.job.targets[first:last], **self._how
        )

    def _strongest(self, first: int, last: int) -> np.ndarray:
        """Neurons [p, N, 2] of each prompt, the largest ``|NeurGrad|`` first."""
        return self._gradients(first, last).top(self._N)[0]

    def _check_prompts(self) -> None:
        """Refuse a prompt or target that the model cannot take, and say which."""
        job = self.job
        try:
            self.engine.plan(self.prompts, job.targets, calibrate=False, **self._how)
        except NotImplementedError as error:
            refuse("--method", f"{job.asked.method!r}: {error}")
        except (ValueError, IndexError) as error:
            for row, pair in enumerate(zip(self.prompts, job.targets, strict=True), start=1):
                if (reason := self._why_not(*pair)) is not None:
                    self._refuse_row(row, reason)
            refuse("--prompts", str(error))

    def _why_not(self, prompt: str, target: str) -> str | None:
        try:
            self.engine.plan([prompt], [target], calibrate=False, **self._how)
        except (ValueError, IndexError) as error:
            return str(error)
        return None

    def _refuse_row(self, row: int, reason: str) -> None:
        """Blame the option, or the cell of the file, that `reason` is about.

        `reason` comes from asking for this prompt alone, so it speaks of prompt 0.
        """
        if reason.startswith("mask_index"):
            reason = reason.replace("prompt 0", f"prompt {row - 1}")
            refuse("--mask-index", f"{self.job.asked.mask_index}: {reason}")
        if reason.startswith("position"):
            reason = reason.replace("prompt 0", f"prompt {row - 1}")
            refuse("--position", f"{self.job.position}: {reason}")
        reason = reason.removeprefix("prompt 0 ")
        about_target = reason.startswith("target")
        file = self.job.asked.prompts
        if file is not None:
            column = "answer" if about_target else "prompt"
            refuse("--prompts", f"{str(file)!r}: row {row}, column {column!r}: {reason}")
        if about_target:
            refuse("--target", f"{self.job.targets[row - 1]!r}: {reason}")
        refuse("--prompt", f"{self.job.prompts[row - 1]!r}: {reason}")
