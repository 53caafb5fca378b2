"""``--shifts start:stop:step``."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

MOST = 100_000
WIDEST = 307  # decimal places of a float64


def parse_shifts(text: str) -> np.ndarray:
    """Return the shifts of a range, both ends included, zero left out.

    Parameters
    ----------
    text : str
        ``"-10:10:0.2"`` is -10, -9.8, ... 9.8, 10. Where the step does not land on the end, the
        last shift is the one before it.

    Returns
    -------
    ndarray of float64 [J]
        Each the number nearest to its decimal value, so that 0.1 * 3 is 0.3.

    Raises
    ------
    ValueError
        Not three finite numbers, a step that leads away from the end, or no shift left.
    """
    import numpy as np

    try:
        start, stop, step = (Decimal(part.strip()) for part in text.split(":"))
    except (ValueError, InvalidOperation):
        raise ValueError("expected start:stop:step, such as -10:10:0.2") from None
    if not (start.is_finite() and stop.is_finite() and step.is_finite()):
        raise ValueError("start, stop and step must be finite numbers")
    if wide := [value for value in (start, stop, step) if value and abs(value.adjusted()) > WIDEST]:
        raise ValueError(f"{wide[0]:.3g} is beyond what a float holds")
    if step == 0 or (stop - start) / step < 0:
        raise ValueError(f"a step of {step} does not lead from {start} to {stop}")
    n = int((stop - start) / step) + 1
    if n > MOST:
        raise ValueError(f"that is {n:,} shifts; at most {MOST:,} are taken")
    values = [value for i in range(n) if (value := start + i * step) != 0]
    if not values:
        raise ValueError("zero is left out, and no other shift is in the range")
    return np.array([float(value) for value in values])
