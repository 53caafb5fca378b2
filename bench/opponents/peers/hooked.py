"""Sweeps in TransformerLens 3: rows start at their layer, over a frozen cache of the prefix."""

from __future__ import annotations

import copy
import tempfile
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from bench.opponents.peers.asked import moved


class StartAtLayer:
    """Rows are a token each: ``start_at_layer`` and ``past_kv_cache``, which is frozen."""

    batch = 100

    def __init__(self, model: Any, tokenizer: Any):
        lens = import_module("transformer_lens")
        loading = import_module("transformer_lens.loading_from_pretrained")
        with tempfile.TemporaryDirectory() as folder:
            model.config.save_pretrained(folder)
            cfg = loading.get_pretrained_model_config(folder, fold_ln=False, device="cpu")
            weights = loading.get_pretrained_state_dict(folder, cfg, model)
        self.model = lens.HookedTransformer(cfg, tokenizer, move_to_device=False)
        self.model.load_and_process_state_dict(
            weights,
            fold_ln=False,
            center_writing_weights=False,
            center_unembed=False,
            fold_value_biases=False,
        )
        caches = import_module("transformer_lens.cache.key_value_cache")
        self.new_cache = caches.TransformerLensKeyValueCache.init_cache

    def begin(self, tokens: list[int]) -> Any:
        """Keys and values of the prompt but its last token, and that token's vectors."""
        cache = self.new_cache(self.model.cfg, "cpu", 1)
        self.model(torch.tensor([tokens[:-1]]), return_type=None, past_kv_cache=cache)
        cache.freeze()
        last = torch.tensor([tokens[-1:]])
        _, kept = self.model.run_with_cache(
            last, names_filter=lambda name: name.endswith("resid_pre"), past_kv_cache=cache
        )
        return cache, [kept["resid_pre", layer] for layer in range(self.model.cfg.n_layers)]

    def rows(
        self, shared: Any, target: int, layer: int, neurons: Tensor, amounts: Tensor | None
    ) -> Tensor:
        """See :class:`bench.opponents.peers.asked.Library`."""
        row, (cache, residual) = torch.arange(len(neurons)), shared
        past = copy.deepcopy(cache)
        for entry in past.entries[layer:]:
            entry.past_keys = entry.past_keys.expand(len(row), -1, -1, -1)
            entry.past_values = entry.past_values.expand(len(row), -1, -1, -1)
        past.previous_attention_mask = past.previous_attention_mask.expand(len(row), -1)

        def move(up: Tensor, hook: Any) -> Tensor:
            up[row, -1, neurons] = moved(up[row, -1, neurons], amounts)
            return up

        logits = self.model.run_with_hooks(
            residual[layer].expand(len(row), -1, -1),
            fwd_hooks=[(f"blocks.{layer}.mlp.hook_pre_linear", move)],
            start_at_layer=layer,
            past_kv_cache=past,
        )
        return logits[:, -1].log_softmax(-1)[:, target]
