"""Prompts and targets as users write them -> token ids, checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from negkernel.request.given import Prompts as Prompts
from negkernel.request.given import is_single, listed, read_prompts
from negkernel.request.masks import mask_position
from negkernel.request.positions import Position, shifted_positions
from negkernel.request.reader import Reader
from negkernel.request.targets import check_encoding, encode_target

Targets = str | int | Sequence[str | int] | Sequence[Sequence[str | int]]


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
    elsewhere : list of list of int, optional
        Positions of each prompt where neurons are shifted, ascending; None: where it is read.
    summed : bool
        Gradients are sums over the positions of each prompt.
    """

    tokens: list[list[int]]
    positions: list[int]
    texts: list[str]
    target_ids: np.ndarray
    targets: list[list[str]]
    spelling_ids: np.ndarray
    single: bool
    elsewhere: list[list[int]] | None = None
    summed: bool = False

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

    @property
    def shifted(self) -> list[list[int]]:
        """Positions of each prompt where neurons are shifted, ascending."""
        return [[at] for at in self.positions] if self.elsewhere is None else self.elsewhere

    def at(self, position: Position, *, causal: bool) -> Request:
        """Shift neurons at ``position``, see :mod:`negkernel.request.positions`."""
        if position is None:
            return self
        lengths = [len(tokens) for tokens in self.tokens]
        found = shifted_positions(position, lengths, self.positions, causal=causal)
        return replace(self, elsewhere=found, summed=isinstance(position, str))

    @property
    def moved(self) -> bool:
        """Whether neurons are shifted at other positions than those that are read."""
        return self.shifted != [[at] for at in self.positions]

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
            elsewhere=None if self.elsewhere is None else [self.elsewhere[i] for i in index],
            summed=self.summed,
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
            "positions": self.elsewhere,
        }


def encode_request(
    prompts: Prompts,
    targets: Targets,
    reader: Reader,
    *,
    target_prefix: str = "auto",
    target_encoding: str = "joint",
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
    target_prefix, target_encoding, mask_index, attention_mask
        See :class:`negkernel.request.encoding.Encoding`.

    Raises
    ------
    ValueError
        Empty or over-long prompts, lists of different lengths, targets that are not one token,
        prompts or targets of another kind; for a masked model no mask token, or several without
        a choice.
    """
    check_encoding(target_prefix, target_encoding)
    alone = is_single(prompts) and isinstance(targets, str | int | np.integer)
    wanted = [targets] if alone else listed(targets, "targets")
    given = read_prompts(prompts, attention_mask, reader)
    if len(given) != len(wanted):
        raise ValueError(
            f"got {len(given)} prompts but {len(wanted)} targets; expected one target (or one "
            "list of K targets) per prompt"
        )
    for i, prompt in enumerate(given):
        if reader.longest is not None and len(prompt.ids) > reader.longest:
            raise ValueError(
                f"prompt {i} has {len(prompt.ids)} tokens but the model allows {reader.longest}; "
                "shorten it"
            )
    positions = [
        _probed(prompt.ids, reader.mask_id, mask_index, i) for i, prompt in enumerate(given)
    ]
    single, lists = _by_prompt(wanted)
    encoded = [
        [
            encode_target(
                target,
                prompt,
                reader,
                prefix=target_prefix,
                encoding=target_encoding,
                mask_position=None if reader.mask_id is None else position,
            )
            for target in row
        ]
        for prompt, position, row in zip(given, positions, lists, strict=True)
    ]
    return Request(
        tokens=[prompt.ids for prompt in given],
        positions=positions,
        texts=[prompt.text for prompt in given],
        target_ids=np.array([[t.token for t in row] for row in encoded], dtype=np.int64),
        targets=[[t.text for t in row] for row in encoded],
        spelling_ids=np.array([[t.other_spelling for t in row] for row in encoded], np.int64),
        single=single,
    )


def _probed(ids: list[int], mask_id: int | None, mask_index: int | None, prompt: int) -> int:
    if mask_id is None:
        return len(ids) - 1
    return mask_position(ids, mask_id, mask_index, prompt)


def _by_prompt(wanted: list[Any]) -> tuple[bool, list[list[Any]]]:
    """Whether there is one target a prompt, and the targets of each."""
    many = [isinstance(t, list | tuple | np.ndarray) and np.ndim(t) > 0 for t in wanted]
    lists = [list(t) if some else [t] for t, some in zip(wanted, many, strict=True)]
    counts = sorted({len(t) for t in lists})
    if counts[0] == 0 or len(counts) > 1:
        raise ValueError(
            f"targets per prompt differ or are missing (found {counts}); expected the same "
            "number K >= 1 for every prompt"
        )
    return not any(many), lists
