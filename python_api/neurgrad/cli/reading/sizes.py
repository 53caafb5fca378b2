"""``--memory SIZE``."""

from __future__ import annotations

import re

_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def parse_size(text: str) -> int:
    """Return bytes of ``"512M"``, ``"1.5 GiB"`` or ``"4g"``; units are powers of 1,024.

    Raises
    ------
    ValueError
        Something else, or less than a mebibyte, or more than any machine has.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", text.strip().lower())
    size = int(float(found[1]) * 1024 ** _POWERS[found[2]]) if found else 0
    if not 1024**2 <= size <= 1024**6:
        raise ValueError("expected a size such as 512M or 4G, at least 1M")
    return size
