"""Take some prompts of a result, and show a result in a notebook."""

from __future__ import annotations

import html
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from negkernel.arguments import shown

if TYPE_CHECKING:
    from negkernel.results.base import Result

SHOWN_ROWS = 10

R = TypeVar("R", bound="Result")


def select(result: R, which: Any) -> R:
    """Return the same kind of result for some of its prompts.

    Parameters
    ----------
    which : int, slice, list of int or bool array
        Counted from the end where negative, as in a list.

    Raises
    ------
    IndexError
        No such prompt, or not a way to say which.
    """
    P = len(result.prompts)
    index = _indices(which, P)
    changed: dict[str, Any] = {"target_ids": result.target_ids[index]}
    for name, axes in result.array_axes().items():
        if axes.startswith("P"):
            changed[name] = getattr(result, name)[index]
    for name in ("prompts", "targets", "prompt_tokens", "positions", "target_tokens"):
        values = getattr(result, name)
        changed[name] = None if values is None else [values[i] for i in index]
    rows = getattr(result, "rows", None)
    if rows is not None:  # of a grid each prompt's are the same; of others their mean
        changed["rows"] = round(rows * len(index) / P)
    changed |= {f.name: f.default for f in fields(result) if not f.metadata.get("kept", True)}
    return replace(result, **changed)


def as_html(result: Result) -> str:
    """Return a result's description and the first rows of its table, for a notebook."""
    frame = result.first_rows(SHOWN_ROWS)
    table = frame.to_html(max_rows=SHOWN_ROWS, index=False, escape=True, border=0)
    return f"<p><code>{html.escape(repr(result))}</code></p>\n{table}"


def _indices(which: Any, size: int) -> list[int]:
    try:
        picked = np.arange(size)[which]
    except (IndexError, TypeError, ValueError):
        picked = np.empty((0, 0))
    if np.ndim(picked) > 1 or np.size(picked) == 0 or which is None or which is Ellipsis:
        raise IndexError(
            f"no prompts are at {shown(which)}; expected some of the {size} by an integer, a "
            "slice, or a list of them"
        )
    return [int(i) for i in np.atleast_1d(picked)]
