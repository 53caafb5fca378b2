"""The class of the paper's public code, answered by the engine."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from negkernel import Engine
from negkernel.arguments import check_choice, check_kind, check_number, shown
from negkernel.methods.forward import input_device
from neurgrad.attribution import integrated_gradients
from neurgrad.compat import selection
from neurgrad.compat.completions import described, distributions
from neurgrad.compat.loading import MODEL_TYPES
from neurgrad.compat.shifts import shift_of

_METHODS = ("cgrad", "gradient", "integrated_grads")
_MODES = ("bienhance", "bisuppress")


class NeurGrad:
    """Scores of and interventions on the neurons of a model.

    Parameters
    ----------
    model, tokenizer
        As of :class:`negkernel.Engine`. Prompts are text, special tokens are added once; labels are
        encoded alone.
    model_type : {"bert", "llama2", "llama3", "qwen"}
        "bert": neurons are activations after the nonlinearity, probed at the first mask; else they
        are outputs of ``up_proj``, probed at the last token.
    device : int, optional
        Not used: the model is where it lies.
    """

    def __init__(self, model: Any, tokenizer: Any, model_type: str, device: int = -1) -> None:
        if not isinstance(model_type, str) or model_type not in MODEL_TYPES:
            raise NotImplementedError(
                f"model_type {shown(model_type)} is unknown; expected one of {list(MODEL_TYPES)}, "
                "or use negkernel.Engine, which serves others"
            )
        self.engine = Engine(model, tokenizer)
        self.model, self.tokenizer, self.model_type = model, self.engine.tokenizer, model_type
        site, masked = self.engine.site, self.engine.task == "masked"
        if (model_type == "bert") != masked or site != ("post" if masked else "up"):
            raise ValueError(
                f"model_type {model_type!r} does not describe this {self.engine.task} "
                f"{type(self.engine.model).__name__}, whose neurons are at {site!r}"
            )
        self._where: dict[str, Any] = {"mask_index": 0} if masked else {}

    def __getattr__(self, name: str) -> Any:
        public = [one for one in dir(type(self)) if not one.startswith("_")]
        raise AttributeError(
            f"neurgrad.compat.NeurGrad has no {name!r}; it has {', '.join(public)}"
        )

    def n_layers(self) -> int:
        """Layers of the model."""
        return self.engine.n_layers

    def intermediate_size(self) -> int:
        """Neurons of a layer."""
        return self.engine.n_neurons

    def encode_token(self, target: str) -> list[int]:
        """Token id of a label that is encoded alone, in a list.

        Raises
        ------
        ValueError
            It is not one token.
        """
        check_kind("label", target, str)
        ids = list(self.tokenizer.encode(target, add_special_tokens=False))
        if len(ids) != 1:
            raise ValueError(
                f"label {shown(target)} alone becomes "
                f"{self.tokenizer.convert_ids_to_tokens(ids)}; expected one token"
            )
        return ids

    def tokenize_labels(self, labels: Sequence[str]) -> Tensor:
        """Token ids [B, 1] of labels."""
        return torch.tensor([self.encode_token(label) for label in labels])

    def encode_prompt(self, prompt: str | Sequence[str]) -> dict[str, Tensor]:
        """What the model is given for a prompt, or for several of them padded."""
        how: dict[str, Any] = {"return_tensors": "pt"}
        if not isinstance(prompt, str):
            how |= {"padding": True, "truncation": True}
            how |= {} if self.engine.task == "masked" else {"padding_side": "left"}
        found = self.tokenizer(prompt if isinstance(prompt, str) else list(prompt), **how)
        return {name: tensor.to(input_device(self.engine.model)) for name, tensor in found.items()}

    def tokenize_prompts(
        self, prompts: Sequence[str], encoded_input: dict[str, Tensor] | None = None
    ) -> tuple[dict[str, Tensor], Tensor]:
        """What the model is given, and each prompt's probed position [B]: -1 or its first mask."""
        given = self.encode_prompt(prompts) if encoded_input is None else encoded_input
        ids = given["input_ids"]
        if self.engine.task == "masked":
            return given, (ids == self.tokenizer.mask_token_id).int().argmax(1)
        return given, ids.new_full((len(ids),), -1)

    @staticmethod
    def scaled_input(activations: Tensor, steps: int = 20, device: str = "cpu") -> Tensor:
        """Activations [B, N] times 0 to 1 in even ``steps``: [steps * B, N]."""
        factors = torch.linspace(0, 1, steps).repeat_interleave(len(activations))
        return activations.to(device).repeat(steps, 1) * factors.to(device)[:, None]

    @staticmethod
    def calculate_scores(acts: Tensor, grads: Tensor, act_threshold: float = 0) -> Tensor:
        """Gradients with the sign of the activations: plus where they are above the threshold."""
        return torch.where(acts > act_threshold, grads, -grads)

    def get_scores(
        self,
        prompt: str,
        label: str,
        batch_size: int = 10,
        steps: int = 20,
        attribution_method: str = "integrated_grads",
        pbar: bool = False,
        act_threshold: float = 0,
    ) -> Tensor:
        """Scores [1, L, N] of one prompt.

        Parameters
        ----------
        attribution_method : {"cgrad", "gradient", "integrated_grads"}
            The computational gradient, NeurGrad, or integrated gradients in ``steps`` steps.
        batch_size, pbar
            Not used.
        """
        check_choice("attribution_method", attribution_method, _METHODS)
        if attribution_method != "integrated_grads":
            cgrad = attribution_method == "cgrad"
            return self.get_neg_per_prompt(prompt, label, act_threshold, gc=cgrad)[1]
        warnings.warn(
            "the paper's public code calls a function for integrated gradients that it does not "
            "have; these follow its helper: each layer scaled as a whole from 0, see "
            "neurgrad.attribution.integrated_gradients",
            stacklevel=2,
        )
        ids = self.encode_token(label)
        found = integrated_gradients(self.engine, [prompt], ids, steps=steps, **self._where)
        return torch.from_numpy(found.astype(np.float32))

    def get_neg_per_prompt(
        self, prompt: str, label: str, act_threshold: float = 0, gc: bool = False
    ) -> tuple[Tensor, Tensor, Tensor]:
        """NeurGrad of one prompt, or with ``gc`` its computational gradient.

        Returns
        -------
        prob [1, 1], scores [1, L, N], activations [L, 1, N]
        """
        prob, scores, acts = self._gradients([prompt], [[label]], act_threshold, gc)
        return prob, scores[:, 0], acts.transpose(0, 1)

    def get_negs_in_batch(
        self,
        prompts: Sequence[str],
        labels: Sequence[str],
        act_threshold: float = 0,
        return_cg: float = False,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """NeurGrad of several prompts, or with ``return_cg`` their computational gradients.

        Returns
        -------
        probs [B, V], scores [B, L, N], activations [B, L, N]
        """
        if len(prompts) > 1:
            warnings.warn(
                "the paper's public code sums the gradients of a batch over all of its labels; "
                "these are each prompt's own",
                stacklevel=2,
            )
        each = [[label] for label in labels]
        _, scores, acts = self._gradients(prompts, each, act_threshold, bool(return_cg))
        return self._distributions(prompts), scores[:, 0], acts

    def get_negs_multilabels(
        self,
        prompts: Sequence[str],
        multi_labels: Sequence[Sequence[str]],
        act_threshold: float = 0,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """NeurGrad of K labels of each prompt.

        Returns
        -------
        probs [B, V], scores [B, K, L, N], activations [B, L, N]
        """
        _, scores, acts = self._gradients(prompts, multi_labels, act_threshold, False)
        return self._distributions(prompts), scores, acts

    get_sampled_neurons = staticmethod(selection.sampled)
    get_topk_neurons = staticmethod(selection.top)
    get_cumlative_neurons = staticmethod(selection.cumulative)
    get_pos_neg_neurons = staticmethod(selection.by_polarity)

    def get_generation_info(
        self, prompts: Sequence[str], labels: Sequence[str], return_prob: bool = False
    ) -> list[dict[str, Any]]:
        """Probability of each label, and the likeliest token.

        Returns
        -------
        list of dict
            ``prompt``, ``gt``, ``gt_prob``, ``argmax_completion``, ``argmax_prob``, ``probs`` [V].
        """
        probs = self._distributions(prompts)
        own = probs.gather(1, self.tokenize_labels(labels))[:, 0].tolist()
        return described(self.engine, prompts, labels, probs, own, return_prob)

    def modify_activations(
        self,
        prompts: Sequence[str],
        labels: Sequence[str],
        pos_neurons: Sequence[Sequence[int]],
        neg_neurons: Sequence[Sequence[int]] | None = None,
        pos_changes: Any = None,
        neg_changes: Any = None,
        mode: str = "bienhance",
        change_ratio: float | None = None,
        change_volume: float | None = None,
        return_prob: bool | None = None,
    ) -> tuple[list[dict[str, Any]], Callable[..., Any]]:
        """Move positive neurons away from 0 and negative ones towards it, or ("bisuppress") back.

        Parameters
        ----------
        change_volume, change_ratio : float, optional
            How far, or which part of the activation; neither may be negative.
        pos_changes, neg_changes : list of float, optional
            How far each neuron, in place of ``change_volume``.

        Returns
        -------
        list of dict
            For each prompt ``"before"`` and ``"after"``, as of :meth:`get_generation_info`.
        callable
            Does nothing: the model is not patched.
        """
        lists = pos_neurons, neg_neurons or []
        signs = (1.0, -1.0) if check_choice("mode", mode, _MODES) == "bienhance" else (-1.0, 1.0)
        changes = pos_changes, neg_changes
        shift = shift_of(lists, signs, changes, volume=change_volume, ratio=change_ratio)
        ids = self.tokenize_labels(labels)[:, 0].tolist()
        moved = self.engine.intervene(prompts, ids, [shift], **self._where)
        before = self.get_generation_info(prompts, labels, bool(return_prob))
        own = np.exp(moved.base_logprob.astype(np.float64)) + moved.prob_shift()[:, 0]
        for one, logprob in zip(before, moved.base_logprob, strict=True):
            one["gt_prob"] = float(np.exp(np.float64(logprob)))
        probs = distributions(self.engine, moved.prompt_tokens, shift)
        after = described(self.engine, prompts, labels, probs, own.tolist(), return_prob)
        both = [{"before": b, "after": a} for b, a in zip(before, after, strict=True)]
        return both, lambda *args: args

    def enhance_knowledge(
        self,
        prompts: Sequence[str],
        labels: Sequence[str],
        pos_neurons: Sequence[Sequence[int]],
        neg_neurons: Sequence[Sequence[int]] | None = None,
        change_ratio: float | None = 1,
        change_volume: float | None = None,
        return_prob: bool = False,
    ) -> tuple[list[dict[str, Any]], Callable[..., Any]]:
        """:meth:`modify_activations` with mode "bienhance"."""
        how: dict[str, Any] = {"change_ratio": change_ratio, "change_volume": change_volume}
        return self.modify_activations(
            prompts, labels, pos_neurons, neg_neurons, return_prob=return_prob, **how
        )

    def suppress_knowledge(
        self,
        prompts: Sequence[str],
        labels: Sequence[str],
        pos_neurons: Sequence[Sequence[int]],
        neg_neurons: Sequence[Sequence[int]] | None = None,
        change_ratio: float | None = 1,
        change_volume: float | None = None,
        return_prob: bool = False,
    ) -> tuple[list[dict[str, Any]], Callable[..., Any]]:
        """:meth:`modify_activations` with mode "bisuppress"."""
        how: dict[str, Any] = {"change_ratio": change_ratio, "change_volume": change_volume}
        return self.modify_activations(
            prompts,
            labels,
            pos_neurons,
            neg_neurons,
            mode="bisuppress",
            return_prob=return_prob,
            **how,
        )

    def _gradients(
        self, prompts: Sequence[str], labels: Sequence[Sequence[str]], threshold: float, cg: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Probs [B, K], scores [B, K, L, N] and activations [B, L, N]."""
        check_number("act_threshold", threshold)
        ids = [[self.encode_token(label)[0] for label in own] for own in labels]
        found = self.engine.gradients(list(prompts), ids, **self._where)
        scores = found.cg if cg else found.neurgrad(threshold)
        arrays = found.prob, scores, found.activation
        prob, own, acts = (torch.from_numpy(array.astype(np.float32)) for array in arrays)
        return prob, own, acts

    def _distributions(self, prompts: Sequence[str]) -> Tensor:
        return distributions(self.engine, [self.tokenizer(one)["input_ids"] for one in prompts])
