"""``method="suffix"``: prefix KV once, then only last tokens, through the model's own modules.

Rows are tokens of one sequence that share a position id; a mask shows each the prefix and itself,
so the prefix KV is never copied. Works for any Hugging Face causal LM with a KV cache that takes
such a mask; for the others the cache is repeated along the batch instead.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from negkernel import hooks
from negkernel.borrow import borrowed
from negkernel.families.hook_sites import FeedForward
from negkernel.methods.base import Part, Work
from negkernel.methods.full import accepts, changes_of, last_logprob, part_of

log = logging.getLogger(__name__)


class Suffix:
    """Last-token forwards on a shared prefix cache.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        A causal language model with a KV cache.
    feed_forwards : list of FeedForward
        Its MLPs, one per layer.
    memory_budget : int
        Bytes of scratch, which sets how many rows run at once.
    """

    name = "suffix"

    def __init__(self, model: Any, feed_forwards: Sequence[FeedForward], memory_budget: int):
        self.model = model
        self.feed_forwards = feed_forwards
        self.memory_budget = memory_budget
        self._packed: bool | None = None  # None: not tried yet

    @torch.no_grad()
    def run(self, work: Work) -> Iterator[Part]:
        """See :class:`negkernel.methods.base.Method`."""
        sites = [one.site(work.site) for one in self.feed_forwards]
        with borrowed(self.model) as rotary:
            for p, tokens in enumerate(work.tokens):
                rotary.restore()
                seen: dict[int, Tensor] = {}
                layers = torch.unique(work.neurons[p, :, 0]).tolist()
                last = torch.tensor([len(tokens) - 1])
                with hooks.edited(sites, hooks.reader(seen, layers, last)):
                    base, cache = self._prefill(tokens)
                if self._packed is None:
                    self._packed = self._try_packed(tokens, cache, base)
                changes = []
                rows = work.rows(p, p + 1)
                for index in torch.arange(len(rows)).split(self._chunk(len(tokens), base)):
                    batch = rows.take(index)
                    edits = hooks.shifts(batch, torch.arange(len(index)), work.axis)
                    with hooks.edited(sites, edits):
                        logprob = self._last_tokens(tokens, cache, len(index))
                    changes.append(changes_of(work, p, logprob, base))
                yield part_of(work, p, base, changes, seen)

    def _prefill(self, tokens: Sequence[int]) -> tuple[Tensor, Any]:
        """Base log-probs [V] and the cache of all tokens but the last.

        The whole prompt is run, so that RoPE variants that look at the longest position choose
        as they would without a cache; the last token's keys are cut off again.
        """
        cache = DynamicCache()
        base = last_logprob(
            self.model, torch.tensor([tokens]), past_key_values=cache, use_cache=True
        )[0]
        if cache.get_seq_length() != len(tokens):
            raise NotImplementedError(
                f"{type(self.model).__name__} keeps no KV cache that method='suffix' can reuse; "
                "use method='full'"
            )
        cache.crop(-1)
        return base, cache

    def _last_tokens(self, tokens: Sequence[int], cache: Any, n: int) -> Tensor:
        """Log-probs [n, V] of n copies of the last token on the prefix ``cache``."""
        if not self._packed:
            copies = copy.deepcopy(cache) if len(tokens) > 1 else DynamicCache()
            copies.batch_repeat_interleave(n)
            ids = torch.tensor([[tokens[-1]]]).expand(n, 1)
            mask = torch.ones(n, len(tokens), dtype=torch.int64, device=self._device)
            return last_logprob(
                self.model, ids, past_key_values=copies, use_cache=True, attention_mask=mask
            )
        kept = [(layer.keys, layer.values) for layer in cache.layers]
        try:
            ids = torch.full((1, n), tokens[-1], device=self._device)
            logits = self.model(
                input_ids=ids,
                position_ids=torch.full_like(ids, len(tokens) - 1),
                attention_mask=self._masks(len(tokens), n),
                past_key_values=cache,
                use_cache=True,
            ).logits[0]
        finally:  # the forward appended its rows to the cache, or some of them
            for layer, (keys, values) in zip(cache.layers, kept, strict=True):
                layer.keys, layer.values = keys, values
        dtype = torch.float64 if logits.dtype == torch.float64 else torch.float32
        return torch.log_softmax(logits.to(dtype), dim=-1)

    def _masks(self, length: int, n: int) -> Tensor | dict[str, Tensor]:
        """Additive mask [1, 1, n, length - 1 + n]; one for each kind of layer the model has."""
        config = self.model.config.get_text_config()
        window = getattr(config, "sliding_window", None)
        full = self._mask(length, n, None)
        kinds = set(getattr(config, "layer_types", None) or [])
        if "sliding_attention" in kinds:
            return {"full_attention": full, "sliding_attention": self._mask(length, n, window)}
        everywhere = window is not None and not kinds
        return self._mask(length, n, window) if everywhere else full

    def _mask(self, length: int, n: int, window: int | None) -> Tensor:
        dtype = self.model.dtype
        prefix = torch.zeros(n, length - 1, dtype=dtype, device=self._device)
        own = torch.full((n, n), torch.finfo(dtype).min, dtype=dtype, device=self._device)
        own.fill_diagonal_(0)
        if window is not None:
            prefix[:, : max(0, length - window)] = torch.finfo(dtype).min
        return torch.cat([prefix, own], dim=1)[None, None]

    def _try_packed(self, tokens: Sequence[int], cache: Any, base: Tensor) -> bool:
        """Whether unshifted rows packed into one sequence reproduce the base log-probs."""
        if not accepts(self.model, "position_ids"):
            reason = "it takes no position_ids"
        elif any(
            buffer.dtype == torch.bool and buffer.dim() > 1 for buffer in self.model.buffers()
        ):
            # GPT-Neo cuts windows by a token's place in the cache: a few rows would still fit.
            reason = "its layers keep masks of their own"
        else:
            self._packed = True
            try:
                logprob = self._last_tokens(tokens, cache, 3)
                # Half the digits of the model's dtype: rounding passes, a wrong mask does not.
                budget = torch.finfo(self.model.dtype).eps ** 0.5 * (1 + base.abs().amax())
                if ((logprob - base).abs().amax() <= budget).item():
                    return True
                reason = "its attention does not follow a custom mask"
            except (RuntimeError, ValueError, TypeError, KeyError, AttributeError) as error:
                reason = f"it refused a custom mask ({error})"
        log.info(
            "suffix: %s cannot take rows as tokens of one sequence, since %s; the prefix cache is "
            "repeated for each row instead",
            type(self.model).__name__,
            reason,
        )
        return False

    def _chunk(self, length: int, base: Tensor) -> int:
        """Rows at once: logits, hidden vectors and either the mask or the copied cache."""
        config = self.model.config.get_text_config()
        size = base.element_size()
        per_row = 3 * base.numel() * size + 8 * self.feed_forwards[0].width * size
        if self._packed:
            # The mask is n x (length + n): solve for n with half of the budget each.
            quadratic = int((self.memory_budget / (4 * size)) ** 0.5)
            return max(1, min(quadratic, self.memory_budget // (2 * per_row), 1024))
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        head_dim = getattr(config, "head_dim", None) or (
            config.hidden_size // config.num_attention_heads
        )
        cache = 2 * config.num_hidden_layers * heads * head_dim * length * size
        return max(1, self.memory_budget // (per_row + 2 * cache))

    @property
    def _device(self) -> torch.device:
        return self.model.get_input_embeddings().weight.device
