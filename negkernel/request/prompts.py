"""Prompts and targets as users write them -> token ids, checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from negkernel.request.given import Prompt, is_single, listed, read_prompts
from negkernel.request.given import Prompts as Prompts
from negkernel.request.masks import mask_positions
from negkernel.request.reader import Reader
from negkernel.request.request import Request as Request
from negkernel.request.targets import Spelling, encode_target

Targets = str | int | Sequence[str | int] | Sequence[Sequence[str | int]]


def encode_request(
    prompts: Prompts,
    targets: Targets,
    reader: Reader,
    *,
    target_prefix: str = "auto",
    target_encoding: str = "joint",
    target_tokens: str = "one",
    mask_index: int | None = None,
    attention_mask: Any = None,
) -> Request:
    """Tokenize and check prompts and targets.

    Parameters
    ----------
    prompts
        See :func:`negkernel.request.given.read_prompts`.
    targets : list
        One str or token id per prompt, or K of them per prompt; one alone for one prompt alone.
    reader : Reader
        What the model takes.
    target_prefix, target_encoding, target_tokens, mask_index, attention_mask
        See :class:`negkernel.request.encoding.Encoding`.

    Raises
    ------
    ValueError
        Empty or over-long prompts, lists of different lengths, targets that are not one token, or
        not as many as there may be, prompts or targets of another kind; for a masked model no mask
        token, or several without a choice.
    """
    spelling = Spelling(target_prefix, target_encoding, target_tokens)
    alone = is_single(prompts) and isinstance(targets, str | int | np.integer)
    wanted = [targets] if alone else listed(targets, "targets")
    given = read_prompts(prompts, attention_mask, reader)
    if len(given) != len(wanted):
        raise ValueError(
            f"got {len(given)} prompts but {len(wanted)} targets; expected one target (or one "
            "list of K targets) per prompt"
        )
    for i, prompt in enumerate(given):
        _check_length(i, prompt, 0, reader)
    single, lists = _by_prompt(wanted)
    masks = _masks(given, reader, spelling, mask_index)
    encoded = [
        [encode_target(t, prompt, reader, spelling, masks[i] if masks else None) for t in row]
        for i, (prompt, row) in enumerate(zip(given, lists, strict=True))
    ]
    if masks is None:
        for i, (prompt, row) in enumerate(zip(given, encoded, strict=True)):
            _check_length(i, prompt, max(len(target.tokens) for target in row) - 1, reader)
    several = spelling.tokens == "all"
    return Request(
        tokens=[prompt.ids for prompt in given],
        positions=[len(prompt.ids) - 1 for prompt in given]
        if masks is None
        else [own[0] for own in masks],
        texts=[prompt.text for prompt in given],
        target_ids=np.array([[t.tokens[0] for t in row] for row in encoded], dtype=np.int64),
        targets=[[t.text for t in row] for row in encoded],
        spelling_ids=np.array([[t.other_spelling for t in row] for row in encoded], np.int64),
        single=single,
        answers=[[t.tokens for t in row] for row in encoded] if several else None,
        longest=max(len(t.tokens) for row in encoded for t in row),
        read=masks if several else None,
    )


def _masks(
    given: list[Prompt], reader: Reader, spelling: Spelling, mask_index: int | None
) -> list[list[int]] | None:
    """Where each prompt of a masked model is probed; None for a causal one."""
    if reader.mask_id is None:
        return None
    several = spelling.tokens == "all" and mask_index is None
    return [
        mask_positions(prompt.ids, reader.mask_id, mask_index, i, several=several)
        for i, prompt in enumerate(given)
    ]


def _check_length(index: int, prompt: Prompt, behind: int, reader: Reader) -> None:
    """Refuse a prompt that is too long for the model, ``behind`` it tokens of its answer."""
    n = len(prompt.ids)
    if reader.longest is not None and n + behind > reader.longest:
        answer = f", {n + behind} with its longest target but for its last token" if behind else ""
        raise ValueError(
            f"prompt {index} has {n} tokens{answer} but the model allows {reader.longest}; shorten "
            "it"
        )


def _by_prompt(wanted: list[Any]) -> tuple[bool, list[list[Any]]]:
    """Whether there is one target a prompt, and the targets of each."""
    many = [isinstance(t, list | tuple) or getattr(t, "ndim", 0) > 0 for t in wanted]
    lists = [list(t) if some else [t] for t, some in zip(wanted, many, strict=True)]
    counts = sorted({len(t) for t in lists})
    if counts[0] == 0 or len(counts) > 1:
        raise ValueError(
            f"targets per prompt differ or are missing (found {counts}); expected the same "
            "number K >= 1 for every prompt"
        )
    return not any(many), lists
