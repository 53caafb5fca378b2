"""What every result shares: who was asked what, checked shapes, and a file."""

from __future__ import annotations

import html
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import Field, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from negkernel.arguments import check_path
from negkernel.results import storage
from negkernel.results.deferred import Deferred
from negkernel.results.fields import check_fields
from negkernel.results.selecting import as_html, select
from negkernel.version import __version__

if TYPE_CHECKING:
    import pandas as pd

    from negkernel.results.portions import Portions

logger = logging.getLogger(__name__)

BEFORE_VERSIONS = "0.1.0"  # wrote none into its files


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Result(Deferred):
    """Prompts, targets and model of a result, and how it is written to a file.

    Results hold CPU numpy arrays in float32, or float64 for a float64 model. Where several targets
    were asked for each prompt, an axis ``K`` follows ``P`` in every array that depends on the
    target.

    Attributes
    ----------
    prompts : list of str
        The ``P`` prompts as text.
    targets : list of str, or list of lists of str
        One target for each prompt, or ``K`` of them.
    prompt_tokens : list of lists of int
        Token ids the model saw, special tokens included.
    target_ids : ndarray of int64 [P] or [P, K]
        Token id of each target, of several the first.
    positions : list of lists of int, optional
        Positions of each prompt where neurons were shifted; None: where the answer is read, of one
        of several tokens where its first is.
    target_tokens : P lists of K lists of int, optional
        Token ids of targets that could be several tokens.
    model, dtype, task : str
        Name of the model, precision of its weights, and ``"causal"`` or ``"masked"``.
    version : str
        Version of negkernel that computed it.
    created : str, optional
        When it was saved. Equal results are equal files, so this is not the clock's time but that
        of ``SOURCE_DATE_EPOCH``, where that is set.

    Notes
    -----
    ``len(result)`` is P, and ``result[0]``, ``result[:3]`` or ``result[[2, 5]]`` is the same kind
    of result for those prompts.
    """

    kept_as: ClassVar[str] = ""  # what a folder of portions says that it holds

    prompts: list[str]
    targets: list[str] | list[list[str]]
    prompt_tokens: list[list[int]]
    target_ids: np.ndarray
    model: str
    dtype: str
    task: str
    positions: list[list[int]] | None = None
    target_tokens: list[list[list[int]]] | None = None
    version: str = __version__
    created: str | None = None

    def __post_init__(self) -> None:
        sizes = {"P": len(self.prompts)}
        if len(self.targets) != sizes["P"] or len(self.prompt_tokens) != sizes["P"]:
            raise ValueError(
                f"{sizes['P']} prompts need as many targets and prompt_tokens, got "
                f"{len(self.targets)} and {len(self.prompt_tokens)}"
            )
        for name, axes in {"target_ids": "PK", **self.array_axes()}.items():
            array = getattr(self, name)
            if not isinstance(array, np.ndarray):
                raise TypeError(f"{name} must be a numpy array, got {type(array).__name__}")
            if array.dtype.kind == "f" and array.dtype not in (np.float32, np.float64):
                raise ValueError(f"{name} must be float32 or float64, got {array.dtype}")
            if not self._has_target_axis:
                axes = axes.replace("K", "")
            expected = tuple(
                int(axis) if axis.isdigit() else sizes.get(axis, size)
                for axis, size in zip(axes, array.shape, strict=False)
            )
            if len(axes) != array.ndim or expected != array.shape:
                raise ValueError(
                    f"{name} has shape {list(array.shape)}, expected [{', '.join(axes)}] with "
                    + ", ".join(f"{axis} = {size}" for axis, size in sizes.items())
                )
            sizes.update(zip(axes, array.shape, strict=True))

    def array_axes(self) -> Mapping[str, str]:
        """Axes of each array that the kind of result adds, a letter an axis.

        Letters name sizes as they do everywhere (``P`` prompts, ``K`` targets, ...); a digit is a
        fixed size. ``K`` stands there also where the arrays drop it, one target a prompt being
        given. Keys are the names of the fields; optional arrays that are None are left out.
        """
        return {}

    def __len__(self) -> int:
        return len(self.prompts)

    def __getitem__(self, which: int | slice | Sequence[int] | np.ndarray) -> Self:
        return select(self, which)

    def to_frame(self) -> pd.DataFrame:
        """Table with one row for each prompt, target and item."""
        raise NotImplementedError(f"{type(self).__name__} has no table; expected another result")

    def first_rows(self, n: int) -> pd.DataFrame:
        """The first rows of :meth:`to_frame`, at least `n` where there are as many."""
        return self[:n].to_frame()

    def _repr_html_(self) -> str:
        return as_html(self) if self.kept_in is None else html.escape(repr(self))

    @property
    def _has_target_axis(self) -> bool:
        return self.target_ids.ndim == 2

    def _with_target_axis(self, array: np.ndarray) -> np.ndarray:
        """Return `array` as [P, K, ...], with K = 1 where it has no target axis."""
        return array if self._has_target_axis else array[:, None]

    def save(self, path: str | Path) -> None:
        """Write everything to one safetensors file at exactly `path`.

        The file appears whole or not at all; an existing one stays as it was until then.

        Parameters
        ----------
        path : str or Path
            Where to write. The suffix is yours to choose.

        Raises
        ------
        FileNotFoundError
            If the folder does not exist.
        """
        values = {f.name: getattr(self, f.name) for f in fields(self) if _is_kept(f)}
        created = values.pop("created") or _source_date()
        if created is not None:
            values["created"] = created
        tensors = {name: v for name, v in values.items() if isinstance(v, np.ndarray)}
        described = {name: v for name, v in values.items() if name not in tensors}
        storage.write(check_path("path", path), type(self).__name__, tensors, described)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a file that `save` wrote.

        Parameters
        ----------
        path : str or Path
            The file.

        Returns
        -------
        Self

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If the file is truncated or altered, holds another kind of result or fields that are no
            result's, or comes from a newer version of negkernel.
        """
        tensors, described = storage.read(check_path("path", path), cls.__name__)
        values = {"version": BEFORE_VERSIONS, **described, **tensors}
        known = {field.name for field in fields(cls) if _is_kept(field)}
        unknown = sorted(values.keys() - known)
        if unknown:
            logger.warning(
                "%s: ignored %s, which this version does not know", path, ", ".join(unknown)
            )
        values = {name: value for name, value in values.items() if name in known}
        try:
            check_fields(cls, values)
            return cls(**values)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path} holds no proper {cls.__name__}: {error}") from error

    @classmethod
    def open(cls, folder: str | Path) -> Portions[Self]:
        """Open the folder of a call with ``folder=``, to go through it a few prompts at a time.

        Parameters
        ----------
        folder : str or Path
            What :meth:`negkernel.Engine.sweep`, ``gradients`` or ``neg_map`` filled.

        Returns
        -------
        Portions
            A sequence of results of consecutive prompts; each is read, and its checksum compared,
            when it is its turn.

        Raises
        ------
        ValueError
            The folder holds something else, is not complete, or was altered.
        """
        from negkernel.results.portions import Portions

        return Portions(cls, check_path("folder", folder))

    def __repr__(self) -> str:
        if self.kept_in is None:
            return self._said()
        said = f"{len(self.prompts)} prompts, kept in {str(self.kept_in)!r}, model={self.model!r}"
        return f"{type(self).__name__}({said})"

    def _said(self) -> str:
        return f"{type(self).__name__}({len(self.prompts)} prompts, model={self.model!r})"


def _is_kept(field: Field[Any]) -> bool:
    """Whether a field belongs into the file."""
    return bool(field.metadata.get("kept", True))


def _source_date() -> str | None:
    seconds = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not seconds.isdecimal():
        return None
    return datetime.fromtimestamp(int(seconds), UTC).isoformat()
