"""Hold what to read and where: prompts as token ids, their targets, positions and columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from negkernel.request.answers import columns
from negkernel.request.positions import Position, shifted_positions


@dataclass(frozen=True)
class Request:
    """What to read and where: P prompts with K targets each.

    Attributes
    ----------
    tokens : list of list of int
        Token ids of each prompt, special tokens included.
    positions : list of int
        Probed position of each prompt: its last token, or a masked model's (first) mask token.
    texts : list of str
        The prompts as text.
    target_ids : ndarray [P, K] int64
        Each target's token, or its first.
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
    answers : list of list of list of int, optional
        Tokens of each target [P][K], where they may be several.
    longest : int
        Most tokens that a target has.
    read : list of list of int, optional
        Positions of each prompt where answers are read, ascending; None: ``positions``.
    read_ids : ndarray [Q, C] int64, optional
        What is read at the Q positions of all prompts, see :mod:`negkernel.request.answers`; None:
        the targets.
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
    answers: list[list[list[int]]] | None = None
    longest: int = 1
    read: list[list[int]] | None = None
    read_ids: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def K(self) -> int:  # noqa: N802 - the axis is called K everywhere
        """Targets per prompt."""
        return self.target_ids.shape[1]

    @property
    def reads(self) -> list[list[int]]:
        """Positions of each prompt where answers are read, ascending."""
        return [[at] for at in self.positions] if self.read is None else self.read

    @property
    def columns(self) -> np.ndarray:
        """What is read at the Q positions of all prompts, [Q, C]."""
        return self.target_ids if self.read_ids is None else self.read_ids

    @property
    def watched_ids(self) -> np.ndarray:
        """Columns and their other spellings, [Q, 2 C]; the same again where there is none."""
        other = self.columns
        if self.read_ids is None:
            other = np.where(self.spelling_ids < 0, self.target_ids, self.spelling_ids)
        return np.concatenate([self.columns, other], axis=1)

    def first(self) -> Request:
        """Of each target its first token."""
        return replace(self, answers=None, read=None, longest=1)

    def one_token(self, question: str) -> Request:
        """Refuse targets of several tokens, which ``question`` does not read.

        Raises
        ------
        NotImplementedError
        """
        if self.longest > 1:
            raise NotImplementedError(
                f"{question} read one token, and a target has {self.longest}; expected targets of "
                "one token, or target_tokens='first'"
            )
        return self

    def unrolled(self, *, each: bool = False) -> Request:
        """Write answers of several tokens into prompts, a prompt for each; others stay as they are.

        Behind a causal model's prompt stand then all tokens of its answer but the last, and each is
        read where the one before it stands. A masked model reads all answers in its masks.

        Parameters
        ----------
        each : bool
            Read the tokens one by one, too, see :meth:`parted`.
        """
        if self.answers is None or self.longest == 1:
            return self
        width = self.longest if each else 0
        if self.read is not None:
            ids = [columns(row, width) for row in self.answers]
            return replace(self, read_ids=np.concatenate(ids))
        pairs = [(p, k) for p in range(len(self)) for k in range(self.K)]
        spoken = [self.answers[p][k] for p, k in pairs]
        own = self.take([p for p, _ in pairs])
        read = [
            [at + i for i in range(len(a))] for at, a in zip(own.positions, spoken, strict=True)
        ]
        elsewhere = own.elsewhere
        if elsewhere is not None and self.summed:
            elsewhere = [[*at, *more[1:]] for at, more in zip(elsewhere, read, strict=True)]
        return replace(
            own,
            tokens=[[*one, *a[:-1]] for one, a in zip(own.tokens, spoken, strict=True)],
            target_ids=self.target_ids.reshape(-1, 1),
            targets=[[self.targets[p][k]] for p, k in pairs],
            spelling_ids=self.spelling_ids.reshape(-1, 1),
            elsewhere=elsewhere,
            answers=[[a] for a in spoken],
            read=read,
            read_ids=np.concatenate([columns([a], width) for a in spoken]),
        )

    def parted(self, array: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Part what was read ``each`` by each [P', C, ...] of the unrolled prompts.

        Returns
        -------
        sums [P, K, ...], tokens [P, K, ..., T] or None
            NaN where an answer has fewer tokens; None where none may have several.
        """
        P, K, T = len(self), self.K, self.longest
        if self.answers is None:
            return array, None
        if T == 1:
            return array, array[..., None]
        n = array.shape[1] // (1 + T)
        sums = array[:, :n].reshape(P, K, *array.shape[2:])
        each = array[:, n:].reshape(P, K, T, *array.shape[2:])
        lengths = np.array([[len(one) for one in row] for row in self.answers])
        each[np.arange(T) >= lengths[..., None]] = np.nan
        return sums, np.moveaxis(each, 2, -1)

    def by_prompt(self, array: np.ndarray) -> np.ndarray:
        """One line [P, ...] for each prompt of what unrolled prompts [P', ...] have in common."""
        return array[:: len(array) // len(self)]

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
        read_ids = self.read_ids
        if read_ids is not None:
            start = np.cumsum([0, *map(len, self.reads)])
            read_ids = np.concatenate([read_ids[start[i] : start[i + 1]] for i in index])
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
            answers=None if self.answers is None else [self.answers[i] for i in index],
            longest=self.longest,
            read=None if self.read is None else [self.read[i] for i in index],
            read_ids=read_ids,
        )

    def squeeze(self, array: np.ndarray) -> np.ndarray:
        """Drop the axis K of ``array`` [P, K, ...] if one target per prompt was given."""
        return array[:, 0] if self.single else array

    def squeezed(self, array: np.ndarray | None) -> np.ndarray | None:
        """As :meth:`squeeze`, contiguous, where there is an array."""
        return None if array is None else np.ascontiguousarray(self.squeeze(array))

    def fields(self) -> dict[str, Any]:
        """The part of a result that repeats the request."""
        return {
            "prompts": self.texts,
            "targets": [t[0] for t in self.targets] if self.single else self.targets,
            "prompt_tokens": self.tokens,
            "target_ids": self.squeeze(self.target_ids),
            "positions": self.elsewhere,
            "target_tokens": self.answers,
        }
