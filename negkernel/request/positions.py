"""Read at which tokens of each prompt neurons are shifted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Position = int | Sequence[int] | str | None


class PositionError(IndexError, ValueError):
    """A position that a prompt does not have, or whose shift could not reach the answer."""


def shifted_positions(
    position: Any, lengths: Sequence[int], read: Sequence[int], *, causal: bool
) -> list[list[int]]:
    """Return the shifted positions of each of P prompts, ascending.

    Parameters
    ----------
    position : None, int, list of P int, or "all"
        None is where the answer is read; negative numbers count from a prompt's end.
    lengths, read : list of int
        Tokens of each prompt, and the position where its answer is read.
    causal : bool
        Tokens see only those before them.

    Raises
    ------
    ValueError, IndexError
        Something else, a list of another length, a position outside a prompt, or after the one that
        is read in a causal model.
    """
    P = len(lengths)
    if position is None:
        return [[at] for at in read]
    if isinstance(position, str):
        if position != "all":
            raise ValueError(f"position is {position!r}; expected {_EXPECTED}")
        stops = [at + 1 for at in read] if causal else lengths
        return [list(range(stop)) for stop in stops]
    given = np.asarray(position)
    if given.dtype.kind not in "iu" or given.ndim > 1:
        raise ValueError(f"position is {position!r}; expected {_EXPECTED}")
    if given.ndim == 1 and len(given) != P:
        raise ValueError(
            f"position has {len(given)} numbers for {P} prompts; expected one integer for all "
            "prompts, or one for each"
        )
    found = []
    each = np.broadcast_to(given, P).tolist()
    for p, (at, length, last) in enumerate(zip(each, lengths, read, strict=True)):
        if not -length <= at < length:
            raise PositionError(
                f"position {at} is outside prompt {p}, which has {length} tokens; expected "
                f"{-length} <= position < {length}"
            )
        own = at % length
        if causal and own > last:
            raise PositionError(
                f"position {at} of prompt {p} comes after position {last}, where the answer is "
                "read, so nothing could change; expected one up to that"
            )
        found.append([own])
    return found


_EXPECTED = "None, an integer, one integer for each prompt, or 'all'"
