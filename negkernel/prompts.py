"""Prompts and targets as users write them -> token ids, checked."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from negkernel.masks import encode_masked_text, mask_position
from negkernel.targets import check_encoding, check_target_id, check_unicode, encode_target

log = logging.getLogger(__name__)

Prompts = Sequence[str] | Sequence[Sequence[int]]
Targets = Sequence[str | int] | Sequence[Sequence[str | int]]


@dataclass(frozen=True)
class Request:
    """What to read and where: P prompts with K targets each.

    Attributes
    ----------
    tokens : list of list of int
        Token ids of each prompt, special tokens included.
    positions : list of int
        Probed position of each prompt: its last token, or a masked model's mask token.
    texts : list of str
        The prompts as text.
    target_ids : ndarray [P, K] int64
    targets : list of list of str
        The targets as text.
    spelling_ids : ndarray [P, K] int64
        The same target in its other spelling (with or without a leading space) where there is
        one token for it, else -1.
    single : bool
        One target per prompt was given as such: results drop the axis K.
    """

    tokens: list[list[int]]
    positions: list[int]
    texts: list[str]
    target_ids: np.ndarray
    targets: list[list[str]]
    spelling_ids: np.ndarray
    single: bool

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def K(self) -> int:  # noqa: N802 - the axis is called K everywhere
        """Targets per prompt."""
        return self.target_ids.shape[1]

    @property
    def watched_ids(self) -> np.ndarray:
        """Targets and their other spellings, [P, 2 K]; the target again where there is none."""
        spelling = np.where(self.spelling_ids < 0, self.target_ids, self.spelling_ids)
        return np.concatenate([self.target_ids, spelling], axis=1)

    def take(self, index: Sequence[int]) -> Request:
        """The prompts ``index``."""
        return Request(
            tokens=[self.tokens[i] for i in index],
            positions=[self.positions[i] for i in index],
            texts=[self.texts[i] for i in index],
            target_ids=self.target_ids[index],
            targets=[self.targets[i] for i in index],
            spelling_ids=self.spelling_ids[index],
            single=self.single,
        )

    def squeeze(self, array: np.ndarray) -> np.ndarray:
        """Drop the axis K of ``array`` [P, K, ...] if one target per prompt was given."""
        return array[:, 0] if self.single else array

    def fields(self) -> dict[str, Any]:
        """The part of a result that repeats the request."""
        return {
            "prompts": self.texts,
            "targets": [t[0] for t in self.targets] if self.single else self.targets,
            "prompt_tokens": self.tokens,
            "target_ids": self.squeeze(self.target_ids),
        }


def encode_request(
    prompts: Prompts,
    targets: Targets,
    tokenizer: Any,
    *,
    vocabulary: int,
    max_length: int | None,
    target_prefix: str = "auto",
    target_encoding: str = "joint",
    mask_id: int | None = None,
    mask_index: int | None = None,
) -> Request:
    """Tokenize and check prompts and targets.

    Parameters
    ----------
    prompts : list of str or list of list of int
        Text (the tokenizer's special tokens are added once) or token ids, taken verbatim; arrays
        and tensors serve as lists.
    targets : list
        One str or token id per prompt, or K of them per prompt.
    vocabulary : int
        Token ids must be below this.
    max_length : int or None
        Longest prompt the model's positions allow.
    target_prefix, target_encoding : str
        See :func:`negkernel.targets.encode_target`.
    mask_id : int or None
        Token that a masked model is probed at; None for a causal model.
    mask_index : int or None
        Which mask token, where a prompt has several.

    Raises
    ------
    ValueError
        Empty or over-long prompts, lists of different lengths, targets that are not one token,
        prompts or targets of another kind; for a masked model no mask token, or several without
        a choice.
    """
    for what, values in (("prompts", prompts), ("targets", targets)):
        # A set has no order; an array of no axes is one value, although it has an __iter__.
        single = isinstance(values, str | bytes | Mapping | Set) or getattr(values, "ndim", 1) == 0
        if single or not isinstance(values, Iterable):
            raise ValueError(
                f"{what} is {type(values).__name__}; expected a list, wrap a single one as ['...']"
            )
    check_encoding(target_prefix, target_encoding)
    given, wanted = _listed(prompts), _listed(targets)
    if not given:
        raise ValueError("no prompts given; expected at least one")
    if len(given) != len(wanted):
        raise ValueError(
            f"got {len(given)} prompts but {len(wanted)} targets; expected one target (or one "
            "list of K targets) per prompt"
        )
    tokens = [_encode_prompt(p, i, tokenizer, vocabulary, mask_id) for i, p in enumerate(given)]
    for i, ids in enumerate(tokens):
        if max_length is not None and len(ids) > max_length:
            raise ValueError(
                f"prompt {i} has {len(ids)} tokens but the model allows {max_length}; shorten it"
            )
    if mask_id is None:
        positions = [len(ids) - 1 for ids in tokens]
    else:
        positions = [mask_position(ids, mask_id, mask_index, i) for i, ids in enumerate(tokens)]
    single = not any(_is_list(t) for t in wanted)
    lists = [list(t) if _is_list(t) else [t] for t in wanted]
    counts = sorted({len(t) for t in lists})
    if counts[0] == 0 or len(counts) > 1:
        raise ValueError(
            f"targets per prompt differ or are missing (found {counts}); expected the same "
            "number K >= 1 for every prompt"
        )
    encoded = [
        [
            encode_target(
                target,
                prompt if isinstance(prompt, str) else None,
                ids,
                tokenizer,
                vocabulary=vocabulary,
                prefix=target_prefix,
                encoding=target_encoding,
                mask_position=None if mask_id is None else position,
            )
            for target in row
        ]
        for prompt, ids, position, row in zip(given, tokens, positions, lists, strict=True)
    ]
    texts = [
        prompt if isinstance(prompt, str) else _decode(tokenizer, ids)
        for prompt, ids in zip(given, tokens, strict=True)
    ]
    return Request(
        tokens=tokens,
        positions=positions,
        texts=texts,
        target_ids=np.array([[t.token for t in row] for row in encoded], dtype=np.int64),
        targets=[[t.text for t in row] for row in encoded],
        spelling_ids=np.array([[t.other_spelling for t in row] for row in encoded], np.int64),
        single=single,
    )


def _listed(values: Iterable[Any]) -> list[Any]:
    """A list of prompts or of targets, tensors in it as lists of ids."""
    return [one.tolist() if isinstance(one, Tensor) else one for one in values]


def _is_list(target: object) -> bool:
    return isinstance(target, list | tuple | np.ndarray) and np.ndim(target) > 0


def _decode(tokenizer: Any, ids: list[int]) -> str:
    return str(ids) if tokenizer is None else str(tokenizer.decode(ids))


def _encode_prompt(
    prompt: str | Sequence[int], index: int, tokenizer: Any, vocabulary: int, mask_id: int | None
) -> list[int]:
    if isinstance(prompt, str):
        if tokenizer is None:
            raise ValueError(
                "prompts are text but the engine has no tokenizer; pass Engine(model, tokenizer) "
                "or give prompts as lists of token ids"
            )
        if not prompt.strip():
            raise ValueError(f"prompt {index} is empty; expected text")
        check_unicode(prompt, f"prompt {index}")
        if mask_id is not None:
            return encode_masked_text(prompt, tokenizer)
        return encode_text(prompt, tokenizer)
    if not isinstance(prompt, list | tuple | np.ndarray):
        raise ValueError(
            f"prompt {index} is {type(prompt).__name__}; expected str or a list of token ids"
        )
    ids = [check_target_id(token, vocabulary, f"prompt {index}") for token in prompt]
    if not ids:
        raise ValueError(f"prompt {index} has no tokens; expected at least one")
    return ids


def encode_text(text: str, tokenizer: Any) -> list[int]:
    """Token ids of ``text`` with leading special tokens once and no trailing end-of-text.

    A chat template or a user may have written the BOS token into the text already; a tokenizer
    that also appends an end token would move the probed position behind the prompt. Not verbose:
    text that is too long for the model is refused later, in one voice.
    """
    ids = list(tokenizer(text, add_special_tokens=True, verbose=False)["input_ids"])
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    if bos is not None and len(ids) > 1 and ids[0] == ids[1] == bos:
        ids = ids[1:]
    if eos is not None and len(ids) > 1 and ids[-1] == eos:
        bare = list(tokenizer(text, add_special_tokens=False)["input_ids"])
        if not bare or bare[-1] != eos:
            ids = ids[:-1]
    return ids
