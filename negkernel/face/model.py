"""Wrap a model: load it, and say what is known of it before any question."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch

from negkernel.handle import Host
from negkernel.judge.choice import Asked, choose
from negkernel.judge.trial import stand_in
from negkernel.model.exclusive import guarded
from negkernel.model.loading import load
from negkernel.request.neurons import every_neuron


class ModelFace:
    """A model and its tokenizer, and what an engine says of them: see :class:`negkernel.Engine`."""

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
    ) -> Self:
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

    @property
    def model(self) -> Any:
        """The Hugging Face model itself."""
        return self._host.model

    @property
    def _now(self) -> Host:
        """The model as it is at this moment."""
        self._host.look()
        return self._host

    @property
    def n_layers(self) -> int:
        """Layers of the model."""
        return self._now.n_layers

    @property
    def widths(self) -> np.ndarray:
        """Feed-forward neurons of each layer, int64 [L]."""
        return self._now.widths

    @property
    def neurons(self) -> np.ndarray:
        """(layer, index) of every neuron of the model, layer by layer, int64 [N, 2]."""
        return every_neuron(self.widths)

    @property
    def n_neurons(self) -> int:
        """Feed-forward neurons of a layer, of the widest where layers differ."""
        return self._now.n_neurons

    @property
    def site(self) -> str:
        """What ``site="paper"`` means for this model."""
        return self._now.site("paper").name

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
        host = self._now
        request = stand_in(host.config.vocab_size)
        return choose(host, request, Asked(method, host.site("paper"), check)).name

    @property
    def memory_budget(self) -> int | None:
        """Bytes of scratch asked for; None leaves it to what is free."""
        return self._host.memory_budget

    def __repr__(self) -> str:
        name, dtype = type(self.model).__name__, str(self.model.dtype).removeprefix("torch.")
        return (
            f"{type(self).__name__}({name}, {self.n_layers} layers x {self.n_neurons} neurons, "
            f"{dtype} on {self._host.device}, site={self.site!r})"
        )
