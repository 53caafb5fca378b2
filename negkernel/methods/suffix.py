"""``method="suffix"``: prefix KV once, then only last tokens, through the model's own modules.

Rows are tokens of one sequence that share a position id, several each where an answer has several;
a mask shows each the prefix and itself, so the prefix KV is never copied. Works for any Hugging
Face causal LM with a KV cache that takes such a mask; for the others the cache is repeated along
the batch instead.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from negkernel.hooks import edits as hooks
from negkernel.hooks.lease import borrowed
from negkernel.hooks.modules import FeedForward
from negkernel.methods.base import Part, Work, out_of_memory
from negkernel.methods.forward import (
    accepts,
    input_device,
    log_softmax,
    logits_of,
    probed_logprob,
)
from negkernel.methods.full import changes_of, part_of
from negkernel.methods.own_modules import OwnModules

log = logging.getLogger(__name__)

# What models raise that do not take a mask of four dimensions, or read it otherwise.
_CANNOT_PACK = (RuntimeError, ValueError, TypeError, KeyError, AttributeError, IndexError)


class Suffix(OwnModules):
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
    rows = 1024  # in one sequence: their mask grows with the square

    def __init__(self, model: Any, feed_forwards: Sequence[FeedForward], memory_budget: int):
        super().__init__(model, feed_forwards)
        self.memory_budget = memory_budget
        self._packed = True
        reason = self._why_not_packed()
        if reason is not None:
            self._copy_since(reason)

    def tokens(self, length: int) -> int:
        """See :class:`OwnModules`: the last one, of an answer of one token."""
        return 1

    @torch.no_grad()
    def run(self, work: Work) -> Iterator[Part]:
        """See :class:`negkernel.methods.base.Method`."""
        if work.shifted != [at[:1] for at in work.read]:
            raise NotImplementedError(
                "method 'suffix' runs the last token alone and cannot shift neurons at others; use "
                "'delta' or 'full' (or 'auto')"
            )
        sites = work.spot.site.caught(self.feed_forwards)
        with borrowed(self.model) as state:
            for p, tokens in enumerate(work.tokens):
                state.restore()
                seen: dict[int, Tensor] = {}
                layers = hooks.read_for(work.rows(p, p + 1), work.neurons[p])
                last = hooks.Probed(1, len(tokens), work.shifted[p])
                with hooks.edited(sites, hooks.reader(seen, layers, last)):
                    base, cache = self._prefill(tokens, work.read[p])
                changes = self._changes(work, p, cache, base, seen)
                yield part_of(work, p, base, changes, seen)

    def _changes(
        self, work: Work, p: int, cache: Any, base: Tensor, seen: dict[int, Tensor]
    ) -> list[Tensor]:
        """What is read off the rows of prompt p, in order; the cache is left as it is.

        Rows are packed into one sequence where the model lets them. An unshifted row goes with the
        first of them: whether the mask of this prompt was understood shows in it.
        """
        tokens, rows, read = work.tokens[p], work.rows(p, p + 1), work.read[p]
        own = len(tokens) - read[0]  # tokens of a row
        sites = work.spot.site.caught(self.feed_forwards)
        flips = [] if rows.signs is None else rows.signs.flips
        counted = len(flips)
        while True:
            changes: list[Tensor] = []
            try:
                for index in torch.arange(len(rows)).split(self._chunk(len(tokens), own, base)):
                    extra = 0 if changes else 1
                    at = hooks.Probed(len(index) + extra, own, [0])
                    edits = hooks.shifts(rows.take(index), at, work.spot.axis, seen)
                    with hooks.edited(sites, edits):
                        logprob = self._last_tokens(tokens, read, cache, len(index) + extra)
                    if extra:
                        self._compare(logprob[-1], base)
                    changes.append(changes_of(work, p, logprob[: len(index)], base))
                return changes
            except _CANNOT_PACK as error:
                if changes or not self._packed or out_of_memory(error):
                    raise
                self._copy_since(str(error))
                del flips[counted:]

    def _compare(self, unshifted: Tensor, base: Tensor) -> None:
        """Refuse rows of a prompt whose unshifted row does not give the base log-probs [T, V]."""
        # Half the digits of the model's dtype: rounding passes, a wrong mask does not.
        finite = base.isfinite()
        budget = torch.finfo(self.model.dtype).eps ** 0.5 * (1 + base[finite].abs().amax())
        distance = (unshifted - base)[finite].abs().amax()
        if not distance <= budget:
            raise NotImplementedError(
                f"an unshifted last token of {type(self.model).__name__} differs by "
                f"{distance:.2g} nat from the whole prompt's"
            )

    def _copy_since(self, reason: str) -> None:
        log.info(
            "suffix: %s cannot take rows as tokens of one sequence, since %s; the prefix cache is "
            "repeated for each row instead",
            type(self.model).__name__,
            reason,
        )
        self._packed = False

    def _prefill(self, tokens: Sequence[int], read: Sequence[int]) -> tuple[Tensor, Any]:
        """Base log-probs [T, V] and the cache of all tokens before the first that is read.

        The whole prompt is run, so that RoPE variants that look at the longest position choose
        as they would without a cache; the last tokens' keys are cut off again.
        """
        cache = DynamicCache()
        base = probed_logprob(
            self.model, torch.tensor([tokens]), read, past_key_values=cache, use_cache=True
        )[0]
        if cache.get_seq_length() != len(tokens):
            raise NotImplementedError(
                f"{type(self.model).__name__} keeps no KV cache that method='suffix' can reuse; "
                "use method='full'"
            )
        cache.crop(read[0] - len(tokens))
        return base, cache

    def _last_tokens(
        self, tokens: Sequence[int], read: Sequence[int], cache: Any, n: int
    ) -> Tensor:
        """Log-probs [n, T, V] of n copies of the tokens from the first that is read on.

        They stand on the prefix ``cache``.
        """
        first, own = read[0], len(tokens) - read[0]
        at = [position - first for position in read]
        if not self._packed:
            copies = copy.deepcopy(cache) if first else DynamicCache()
            copies.batch_repeat_interleave(n)
            ids = torch.tensor([tokens[first:]]).expand(n, own)
            mask = torch.ones(n, len(tokens), dtype=torch.int64, device=self._device)
            return probed_logprob(
                self.model, ids, at, past_key_values=copies, use_cache=True, attention_mask=mask
            )
        kept = [(layer.keys, layer.values) for layer in cache.layers]
        try:
            ids = torch.tensor([tokens[first:]], device=self._device).repeat(1, n)
            positions = torch.arange(first, len(tokens), device=self._device)
            output = self.model(
                input_ids=ids,
                position_ids=positions.repeat(1, n),
                attention_mask=self._masks(first, own, n),
                past_key_values=cache,
                use_cache=True,
            )
        finally:  # the forward appended its rows to the cache, or some of them
            for layer, (keys, values) in zip(cache.layers, kept, strict=True):
                layer.keys, layer.values = keys, values
        return log_softmax(logits_of(output)[0].unflatten(0, (n, own))[:, at])

    def _masks(self, first: int, own: int, n: int) -> Tensor | dict[str, Tensor]:
        """Additive mask for n rows of ``own`` tokens behind ``first``; one a kind of layer.

        [1, 1, n * own, first + n * own].
        """
        config = self.model.config.get_text_config()
        window = getattr(config, "sliding_window", None)
        full = self._mask(first, own, n, None)
        kinds = set(getattr(config, "layer_types", None) or [])
        if "sliding_attention" in kinds:
            sliding = self._mask(first, own, n, window)
            return {"full_attention": full, "sliding_attention": sliding}
        everywhere = window is not None and not kinds
        return self._mask(first, own, n, window) if everywhere else full

    def _mask(self, first: int, own: int, n: int, window: int | None) -> Tensor:
        position = torch.arange(first + own, device=self._device)
        distance = position[first:, None] - position
        sees = (distance >= 0) & (distance < (window or first + own))
        row = torch.eye(n, dtype=torch.bool, device=self._device)
        among = torch.kron(row, sees[:, first:])
        hidden = ~torch.cat([sees[:, :first].repeat(n, 1), among], dim=1)
        mask = torch.zeros(hidden.shape, dtype=self.model.dtype, device=self._device)
        return mask.masked_fill_(hidden, torch.finfo(mask.dtype).min)[None, None]

    def _why_not_packed(self) -> str | None:
        """Why rows cannot be tokens of one sequence, as far as the model's looks tell."""
        if not accepts(self.model, "position_ids"):
            return "it takes no position_ids"
        if any(b.dtype == torch.bool and b.dim() > 1 for b in self.model.buffers()):
            # GPT-Neo cuts windows by a token's place in the cache: a few rows would still fit.
            return "its layers keep masks of their own"
        return None

    def _chunk(self, length: int, own: int, base: Tensor) -> int:
        """Rows at once: logits, hidden vectors and either the mask or the copied cache.

        A row has ``own`` tokens.
        """
        config = self.model.config.get_text_config()
        size = base.element_size()
        widest = max(one.width for one in self.feed_forwards)
        per_row = 3 * own * base.shape[-1] * size + 8 * own * widest * size
        if self._packed:
            # The mask is n x (length + n): solve for n with half of the budget each.
            quadratic = int((self.memory_budget / (4 * size)) ** 0.5) // own
            return max(1, min(quadratic, self.memory_budget // (2 * per_row), self.rows))
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        head_dim = getattr(config, "head_dim", None) or (
            config.hidden_size // config.num_attention_heads
        )
        cache = 2 * config.num_hidden_layers * heads * head_dim * length * size
        return max(1, self.memory_budget // (per_row + 2 * cache))

    @property
    def _device(self) -> torch.device:
        return input_device(self.model)
