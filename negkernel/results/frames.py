"""Long tables: one row for each prompt, target and item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


def existing(activation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Layer and index of the neurons that there are, by the NaN of the others in [P, L, I]."""
    layer, index = np.nonzero(~np.isnan(activation).all(axis=0))
    return layer, index


def long_frame(
    prompts: Sequence[str],
    targets: Sequence[str] | Sequence[Sequence[str]],
    columns: Mapping[str, np.ndarray],
    said: Mapping[str, str | float] | None = None,
) -> pd.DataFrame:
    """Lay arrays out as a table, prompts outermost, then targets, then items.

    Parameters
    ----------
    prompts : sequence of str
        The ``P`` prompts.
    targets : sequence of str, or sequence of sequences of str
        One target for each prompt, or ``K`` of them.
    columns : mapping of str to ndarray
        Values; each broadcasts to ``[P, K, N]`` with ``K = 1`` where prompts have one target.
    said : mapping of str to str or float, optional
        What all rows share, so that a file says by itself how it was measured.

    Returns
    -------
    DataFrame
        Columns ``prompt_index`` (two prompts may have the same text), ``prompt``, ``target`` and
        those given. Texts are categorical, so that a prompt is stored once and not once a row.
    """
    import pandas as pd  # here, because it costs more to import than the rest of the results

    shape = np.broadcast_shapes(*(array.shape for array in columns.values()))
    P, K, _ = shape
    prompt_index = np.arange(P)[:, None, None]
    target_index = np.arange(P * K).reshape(P, K, 1)
    flat_targets = [t for each in targets for t in ([each] if isinstance(each, str) else each)]

    def spread(array: np.ndarray) -> np.ndarray:
        return np.broadcast_to(array, shape).ravel()

    def texts(labels: Sequence[str], index: np.ndarray) -> pd.Categorical:
        codes, distinct = pd.factorize(np.array(labels, dtype=object))
        return pd.Categorical.from_codes(codes[spread(index)], pd.Index(distinct))

    return pd.DataFrame(
        {
            "prompt_index": spread(prompt_index),
            "prompt": texts(prompts, prompt_index),
            "target": texts(flat_targets, target_index),
            **{name: spread(array) for name, array in columns.items()},
            **{
                name: texts([value], np.zeros((1, 1, 1), int)) if isinstance(value, str) else value
                for name, value in (said or {}).items()
            },
        }
    )
