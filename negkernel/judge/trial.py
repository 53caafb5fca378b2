"""Choose the prompts that a method is tried on."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from negkernel.request.prompts import Request

# Parts of the names of settings that say at which length a model begins to compute otherwise.
_LENGTHS = ("window", "chunk", "block", "original_max_position")


@dataclass(frozen=True)
class Trial:
    """One or two prompts, the last one the longest.

    Attributes
    ----------
    read : list of list of int
        The last position of each is where it is probed, the first where neurons are shifted.
    targets : list of list of int
    """

    tokens: list[list[int]]
    read: list[list[int]]
    targets: list[list[int]]

    @property
    def positions(self) -> list[int]:
        """Where each prompt is probed."""
        return [at[-1] for at in self.read]

    def longest(self) -> Trial:
        """The last prompt alone."""
        return Trial(self.tokens[-1:], self.read[-1:], self.targets[-1:])


def trials(request: Request, *, each: bool, vocabulary: int) -> list[Trial]:
    """Trials of a request: one of a short and the longest prompt, or of ``each`` prompt alone.

    Answers of several tokens are part of the prompts.
    """
    request = request.unrolled()
    if each:
        alone = zip(request.tokens, request.reads, request.target_ids.tolist(), strict=True)
        return [Trial([t], [p], [k]) for t, p, k in alone]
    lengths = [len(tokens) for tokens in request.tokens]
    low, high = int(np.argmin(lengths)), int(np.argmax(lengths))
    long = request.tokens[high], request.reads[high]
    if lengths[low] < lengths[high]:
        short = request.tokens[low], request.reads[low]
    elif lengths[high] > 1:
        short = _shortened(long[0], long[1][-1])
    else:
        short, long = long, _lengthened(long[0], vocabulary)
    targets = request.target_ids[[low, high]].tolist()
    return [Trial([list(short[0]), list(long[0])], [short[1], long[1]], targets)]


def stand_in(vocabulary: int) -> Request:
    """A request of any tokens, for a model that is asked about before there is one."""
    tokens = [(5 + 7 * i) % vocabulary for i in range(8)]
    return Request(
        tokens=[tokens],
        positions=[len(tokens) - 1],
        texts=[""],
        target_ids=np.array([tokens[:1]]),
        targets=[[""]],
        spelling_ids=np.array([[-1]]),
        single=True,
    )


def _shortened(tokens: Sequence[int], position: int) -> tuple[list[int], list[int]]:
    """About half of a prompt around the probed position, its first token kept."""
    first = max(0, position - len(tokens) // 2)
    kept = [*tokens[: min(1, first)], *tokens[first : position + 1]]
    at = len(kept) - 1
    return kept + list(tokens[position + 1 : position + 2]), [at]


def _lengthened(tokens: Sequence[int], vocabulary: int) -> tuple[list[int], list[int]]:
    """Some tokens before a prompt of one, which has nothing to attend to."""
    before = [(tokens[-1] + 7 * i) % vocabulary for i in range(7, 0, -1)]
    return [*before, *tokens], [len(before) + len(tokens) - 1]


def length_class(config: Any, length: int) -> tuple[int, int]:
    """Class of prompts that a model is taken to treat alike: by doublings and known windows."""
    known = sorted(
        value
        for name, value in vars(config).items()
        if isinstance(value, int) and any(part in name for part in _LENGTHS)
    )
    return length.bit_length(), bisect.bisect_left(known, length)
