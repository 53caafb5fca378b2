"""Random draws that come out the same on every machine.

Splits and demonstrations must not move with the Python version, the hash seed or the order of a
file, so every draw is a SHA-256 digest of what is drawn; `random` promises that only for
`random()`, not for `sample` or `shuffle`.
"""

import hashlib
import math
from collections.abc import Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")


def unit(*key: object) -> float:
    """Draw a number in (0, 1) from `key`, whose parts are taken as text."""
    digest = hashlib.sha256("\x1f".join(map(str, key)).encode()).digest()
    return ((int.from_bytes(digest[:8], "big") >> 12) + 0.5) / 2**52


def shuffled(items: Iterable[T], *key: object) -> list[T]:
    """Return `items` in the order drawn for `key` and their positions."""
    listed = list(items)
    ranked = sorted(range(len(listed)), key=lambda i: (unit(*key, i), i))
    return [listed[i] for i in ranked]


def weighted_sample(weights: Mapping[str, float], k: int, *key: object) -> list[str]:
    """Draw `k` different names, each next one with probability proportional to its weight.

    Exponential keys: the names with the `k` smallest values of -log(u)/weight are distributed as
    successive draws without replacement (Efraimidis and Spirakis, 2006).

    Raises
    ------
    ValueError
        If fewer than `k` names have a positive weight.
    """
    names = [name for name in weights if weights[name] > 0]
    if len(names) < k:
        raise ValueError(
            f"{k} different wrong options are needed and only {len(names)} can be drawn: "
            f"{sorted(names)}; give more rows of this kind or ask for fewer options"
        )
    return sorted(names, key=lambda name: (-math.log(unit(*key, name)) / weights[name], name))[:k]
