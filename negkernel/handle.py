"""A model, what is known of it, and the methods that serve it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Unpack

import numpy as np
import torch

from negkernel.arguments import check_number, shown
from negkernel.delta.method import Delta
from negkernel.families import Precision, describe
from negkernel.hooks.components import direction_sites, head_sites
from negkernel.hooks.generating import being_edited
from negkernel.hooks.modules import FeedForward, feed_forwards
from negkernel.judge.verdicts import Verdicts
from negkernel.methods.base import Method
from negkernel.methods.forward import input_device
from negkernel.methods.full import Full
from negkernel.methods.generic import Generic, Run
from negkernel.methods.suffix import Suffix
from negkernel.model.adapt import see, tokenizer_of
from negkernel.model.memory import default_memory_budget
from negkernel.model.task import model_task
from negkernel.request.directions import Directions
from negkernel.request.encoding import Encoding, check_names
from negkernel.request.places import Place, find_place, is_place, named_neurons
from negkernel.request.positions import Position
from negkernel.request.prompts import Prompts, Request, Targets, encode_request
from negkernel.request.reader import Reader
from negkernel.sites import Direction, Head, Site, resolve_site


class Host:
    """What every answer of the engine needs to know of its model.

    Parameters
    ----------
    model, tokenizer, task, memory_budget, gemm_dtype
        As of :class:`negkernel.Engine`.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        task: str | None,
        memory_budget: int | None,
        gemm_dtype: torch.dtype | None,
    ):
        if memory_budget is not None:
            expected = "a positive number of bytes, or None"
            memory_budget = int(check_number("memory_budget", memory_budget, expected, above=0))
        if gemm_dtype is not None and not (
            isinstance(gemm_dtype, torch.dtype) and gemm_dtype.is_floating_point
        ):
            raise ValueError(
                f"gemm_dtype is {shown(gemm_dtype)}; expected a floating torch.dtype such as "
                "torch.bfloat16, or None"
            )
        self._passed = model
        self.look()
        model = self.model
        tokenizer = tokenizer_of(self._passed) if tokenizer is None else tokenizer
        known = hasattr(tokenizer, "convert_ids_to_tokens") or hasattr(tokenizer, "mask_token_id")
        if tokenizer is not None and not known:
            raise ValueError(
                f"tokenizer is {shown(tokenizer)}; expected one as AutoTokenizer returns, or None"
            )
        self.task = model_task(model, task)
        self.tokenizer = tokenizer
        self.config = model.config.get_text_config()
        self.memory_budget = memory_budget
        self.gemm_dtype = gemm_dtype
        self.verdicts = Verdicts()
        self._run: Run | None = None
        feed_forwards(self.bare, self.config)  # refuses what is not recognised

    def look(self) -> None:
        """See what was passed in as it is now, see :class:`negkernel.model.adapt.Seen`."""
        seen = see(self._passed)
        self.given, self.bare, self.model = seen.given, seen.bare, seen.model
        self._feed_forwards: list[FeedForward] | None = None  # modules may have been replaced

    @property
    def feed_forwards(self) -> list[FeedForward]:
        """Where each layer's neurons are, read off the modules once a look."""
        found = self._feed_forwards
        if found is None:
            found = self._feed_forwards = feed_forwards(self.bare, self.config)
        return found

    @property
    def n_layers(self) -> int:
        """Layers of the model."""
        return len(self.feed_forwards)

    @property
    def n_neurons(self) -> int:
        """Feed-forward neurons of the widest layer."""
        return int(self.widths.max())

    @property
    def widths(self) -> np.ndarray:
        """Feed-forward neurons of each layer, int64 [L]."""
        return np.array([one.width for one in self.feed_forwards])

    def site(self, name: str, layers: Iterable[int] | None = None) -> Site:
        """Resolve a site's name, or a place that other libraries name.

        ``layers`` are those that are asked about, which must be the place's where it says one; by
        default every layer is. See :func:`negkernel.sites.resolve_site` and
        :mod:`negkernel.request.places`.
        """
        if isinstance(name, str) and name == "head":
            counts, catches = zip(*head_sites(self.bare, self.config), strict=True)
            return Head(np.array(counts), list(catches))
        kinds = {one.gated for one in self.feed_forwards if one.width}
        if len(kinds) > 1:
            raise NotImplementedError(
                f"some layers of {type(self.model).__name__} have gated feed-forward parts and "
                "some have not, so that a site is not the same tensor in all of them"
            )
        if not is_place(name):
            return resolve_site(name, kinds.pop())
        place = self.find(name)
        others = set(range(self.n_layers) if layers is None else layers) - {place.layer}
        if place.layer is not None and others:
            raise ValueError(
                f"site {shown(name)} is in layer {place.layer}, but layer {min(others)} is asked "
                f"about too; expected site={place.site!r}"
            )
        return resolve_site(place.site, kinds.pop())

    def along(self, directions: Directions) -> Direction:
        """Return the site of directions; raises what :meth:`Directions.by_layer` does."""
        state = self.precision.state
        given = directions.by_layer(self.n_layers, self.config.hidden_size, state)
        catches = list(direction_sites(self.bare, self.config, directions.at, given))
        nothing = torch.empty(0, self.config.hidden_size, dtype=torch.float64)
        vectors = [given.get(layer, nothing) for layer in range(self.n_layers)]
        return Direction(directions.at, vectors, catches)

    def find(self, name: str) -> Place:
        """Resolve a place, see :func:`negkernel.request.places.find_place`."""
        return find_place(name, self.bare, self.feed_forwards)

    def place(self, neurons: Any, site: str) -> tuple[Any, Site]:
        """Neurons as (layer, index) pairs, and their site.

        Either may be given by a place; directions are a site of their own, with indices within
        their layers.
        """
        if isinstance(neurons, Directions):
            if site != "paper":
                raise ValueError(
                    f"site is {shown(site)} where directions are shifted, which say at= where they "
                    "are; expected no site"
                )
            return neurons.within, self.along(neurons)
        named = named_neurons(neurons, self.find, self.widths)
        if named is not None:
            neurons, own = named
            if site != "paper" and self.site(site, neurons[:, 0]).name != own:
                raise ValueError(f"neurons are given at the site {own!r}, not {shown(site)}")
            return neurons, self.site(own)
        if not is_place(site):
            return neurons, self.site(site)
        layer, array = self.find(site).layer, np.asarray(neurons)
        if layer is not None and array.ndim == 1:
            neurons = array = np.stack([np.full_like(array, layer), array], axis=1)
        return neurons, self.site(site, array[..., 0].ravel().tolist())

    @property
    def device(self) -> torch.device:
        """Where the model computes, also while its weights are elsewhere."""
        device: torch.device = self.model.device
        return input_device(self.model) if device.type == "meta" else device

    @property
    def generic_run(self) -> Run:
        """What method "generic" computes in, and the operations that it has met so far."""
        if self._run is None or self._run.precision != self.precision:
            self._run = Run(self.precision)
        return self._run

    @property
    def precision(self) -> Precision:
        """Dtypes of states and of matrix products."""
        dtype = self.model.dtype
        state = torch.float64 if dtype == torch.float64 else torch.float32
        operand = self.gemm_dtype
        if operand is None:
            operand = dtype if self.device.type == "cuda" else state
        return Precision(state=state, operand=operand)

    @property
    def result_dtype(self) -> type[np.float32] | type[np.float64]:
        """Dtype of results."""
        return np.float64 if self.precision.state == torch.float64 else np.float32

    @property
    def budget(self) -> int:
        """Bytes of scratch."""
        return self.memory_budget or default_memory_budget(self.device)

    def identity(self) -> dict[str, Any]:
        """The part of a result that describes the model."""
        return {
            "model": self.model.config.name_or_path or type(self.model).__name__,
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "task": self.task,
        }

    def encode(
        self,
        prompts: Prompts,
        targets: Targets,
        position: Position = None,
        **encoding: Unpack[Encoding],
    ) -> Request:
        """Tokenize and check prompts and targets, see :mod:`negkernel.request.prompts`."""
        check_names(encoding)
        self.look()
        if being_edited(self.model):
            raise ValueError(
                "the model is being edited; ask outside of the `with engine.edited(...)` block"
            )
        mask_id = self._mask_id(encoding.get("mask_index"))
        reader = Reader.of(self.model, self.tokenizer, mask_id)
        request = encode_request(prompts, targets, reader, **encoding)
        return request.at(position, causal=self.task == "causal")

    def _mask_id(self, mask_index: int | None) -> int | None:
        """Token that a masked model is probed at, None for a causal one."""
        if self.task == "causal":
            if mask_index is not None:
                raise ValueError(
                    "mask_index is for masked models; this one is causal and probed at the last "
                    "token. Expected None: leave it out"
                )
            return None
        mask_id = getattr(self.tokenizer, "mask_token_id", None)
        if mask_id is None:
            raise ValueError(
                "a masked model is probed at its mask token, which the tokenizer tells; pass "
                "Engine(model, tokenizer) with a tokenizer that has one"
            )
        return int(mask_id)

    def method(self, name: str) -> Method:
        """Make the method called ``name``, whether or not it agrees with the model.

        Raises
        ------
        NotImplementedError
            "delta" for an architecture without a family, or a model that is more than its modules
            and weights say.
        """
        if name == "suffix":
            return Suffix(self.model, self.feed_forwards, self.budget)
        if name == "full":
            return Full(self.model, self.feed_forwards)
        if name == "generic":
            causal = self.task == "causal"
            return Generic(
                self.model, self.feed_forwards, self.generic_run, self.budget, causal=causal
            )
        return Delta(describe(self.model, self.precision, self.task), self.budget)
