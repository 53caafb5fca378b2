"""Scores and labels as users hand them over, checked once at the door."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from negkernel import Gradients
from neurgrad.features.packed import OrderStore


def check_scores(X: ArrayLike | OrderStore) -> tuple[Any, tuple[int, int, int]]:
    """Return X as a float array or a packed store, and its shape (Q, K, N).

    Of gradients, or of a list of them, the scores are their NeurGrad.

    That floats are finite is checked block by block where they are read.

    Raises
    ------
    ValueError
        Not real numbers, not three axes, or no prompt, fewer than two labels or no neuron.
    """
    store: Any = X
    if (given := gradients_of(X)) is not None:
        store = np.concatenate([_flat(one.neurgrad(), one) for one in given])
    if hasattr(store, "blocks"):
        shape: tuple[int, ...] = (store.n_prompts, store.n_labels, store.n_neurons)
    else:
        store = np.asarray(store)
        shape = store.shape
        if store.dtype.kind not in "fiub":
            raise ValueError(f"X has dtype {store.dtype}; expected real scores")
        if store.dtype.kind != "f":
            store = store.astype(np.float64)
    if len(shape) != 3 or 0 in shape or shape[1] < 2:
        raise ValueError(
            f"X has shape {shape}; expected [prompts, labels, neurons] with at least one prompt, "
            "two labels and one neuron"
        )
    n_prompts, n_labels, n_neurons = shape
    return store, (n_prompts, n_labels, n_neurons)


def activations_of(X: Any) -> Any:
    """Return X, or of gradients the activations [Q, N]."""
    given = gradients_of(X)
    return X if given is None else np.concatenate([_flat(one.activation, one) for one in given])


def probabilities_of(X: Any) -> Any:
    """Return X, or of gradients the labels' probabilities [Q, K]."""
    given = gradients_of(X)
    return X if given is None else np.concatenate([one.prob for one in given])


def gradients_of(X: Any) -> list[Gradients] | None:
    """Gradients as a list: scikit-learn splits one into the gradients of single prompts."""
    given = [X] if isinstance(X, Gradients) else X
    if not isinstance(given, list) or not given:
        return None
    return given if all(isinstance(one, Gradients) for one in given) else None


def _flat(values: np.ndarray, gradients: Gradients) -> np.ndarray:
    """Values [..., L, I] with the neurons that there are on one axis, as ``engine.neurons``."""
    return values[..., ~np.isnan(gradients.activation).all(axis=0)]


def check_labels(y: ArrayLike, n_prompts: int, n_labels: int) -> NDArray[np.integer]:
    """Return gold labels as an int array [Q].

    Raises
    ------
    ValueError
        Not one integer a prompt, or outside 0 to K - 1.
    """
    labels = np.asarray(y)
    if labels.shape != (n_prompts,):
        raise ValueError(
            f"y has shape {labels.shape}; expected one label for each of the {n_prompts} prompts"
        )
    if labels.dtype.kind not in "iub":
        raise ValueError(
            f"y has dtype {labels.dtype}; expected label indices, integers from 0 to "
            f"{n_labels - 1} in the order of X's second axis"
        )
    labels = labels.astype(np.intp)
    wrong = labels[(labels < 0) | (labels >= n_labels)]
    if len(wrong):
        raise ValueError(
            f"y holds the label {wrong[0]}, out of range for X with {n_labels} labels; "
            f"expected indices from 0 to {n_labels - 1}"
        )
    return labels
