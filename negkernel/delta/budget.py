"""Prompts in groups that fit in memory together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator


def groups(
    lengths: Iterable[int], *, per_prompt: int, per_token: int, budget: int
) -> Iterator[tuple[int, int]]:
    """Split prompts into runs ``first:last`` whose traces fit in ``budget``.

    Parameters
    ----------
    lengths : iterable of int
        Tokens of each of P >= 1 prompts, in order.
    per_prompt, per_token : int
        Bytes of a trace. A prefix that prompts share is counted for each: an upper bound.
    budget : int
        Bytes; a prompt that needs more has a group to itself.
    """
    first = p = used = 0
    for p, length in enumerate(lengths):
        need = per_prompt + per_token * length
        if p > first and used + need > budget:
            yield first, p
            first, used = p, 0
        used += need
    yield first, p + 1
