"""Compare arrays under an error budget; used by the tests and, before any timing, by the benches.

A budget is a largest allowed |actual - expected| with a reason, not a tolerance that grows until
the test is green. Every element must meet it: one wrong element fails, however large the array.
"""

import numpy as np
import torch
from numpy.typing import ArrayLike

Array = torch.Tensor | ArrayLike


def assert_close(
    actual: Array,
    expected: Array,
    *,
    budget: Array,
    relative_to: Array | None = None,
    what: str = "",
) -> None:
    """Raise AssertionError unless every |actual - expected| <= budget.

    Parameters
    ----------
    actual, expected : array_like or torch.Tensor
        What was computed and the truth: same shape and, unless `expected` is float64 as truths may
        be, same dtype. They must not share memory, since an array always equals itself.
    budget : array_like or torch.Tensor
        Allowed error of each element, a scalar or anything that broadcasts to the shape.
    relative_to : array_like or torch.Tensor, optional
        Scale that multiplies the budget, for example the largest |expected|; without it the
        budget is absolute.
    what : str
        What is compared, for the message.

    Raises
    ------
    AssertionError
        With the worst index, both values, the error and the budget there. A NaN passes nowhere;
        an infinity passes only against the same infinity.
    """
    what = what or "comparison"
    if _storage(actual) & _storage(expected):
        raise AssertionError(f"{what}: actual and expected share memory, compare with a copy")
    got, want = _numpy(actual), _numpy(expected)
    if got.shape != want.shape:
        raise AssertionError(f"{what}: shape {got.shape}, expected {want.shape}")
    if _dtype(expected) not in (_dtype(actual), "float64"):
        raise AssertionError(f"{what}: dtype {_dtype(actual)}, expected {_dtype(expected)}")

    scale = 1.0 if relative_to is None else _numpy(relative_to).astype(np.float64)
    allowed = np.broadcast_to(_numpy(budget).astype(np.float64) * scale, want.shape)
    got, want = got.astype(np.float64), want.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.where(np.isinf(want) & (got == want), 0.0, np.abs(got - want))
        bad = ~(error <= allowed)  # a NaN on any side, the budget's included, is bad
    if not bad.any():
        return
    with np.errstate(invalid="ignore", divide="ignore"):
        excess = np.where(bad, error / allowed, -1.0)
    excess[bad & ~np.isfinite(excess)] = np.inf
    worst = np.unravel_index(int(excess.argmax()), want.shape)
    index = [int(i) for i in worst]
    raise AssertionError(
        f"{what}: {int(bad.sum())} of {bad.size} elements exceed their budget, worst at {index}: "
        f"actual {got[worst]:.9g}, expected {want[worst]:.9g}, "
        f"error {error[worst]:.3g}, budget {allowed[worst]:.3g}"
    )


def _numpy(array: Array) -> np.ndarray:
    if isinstance(array, torch.Tensor):
        array = array.detach().cpu()
        array = array.float() if array.dtype in (torch.bfloat16, torch.float16) else array
        return array.numpy()
    return np.asarray(array)


def _dtype(array: Array) -> str:
    if isinstance(array, torch.Tensor):
        return str(array.dtype).removeprefix("torch.")
    return str(np.asarray(array).dtype)


def _storage(array: Array) -> set[int]:
    """Return the address of the memory that a non-empty array owns or views."""
    if isinstance(array, torch.Tensor):
        return {array.untyped_storage().data_ptr()} if array.numel() else set()
    if isinstance(array, np.ndarray) and array.size:
        while isinstance(array.base, np.ndarray):
            array = array.base
        return {array.__array_interface__["data"][0]}
    return set()
