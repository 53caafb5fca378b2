"""Check what a result's file says against what the result's fields can be."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields
from typing import Any, Union, get_args, get_origin, get_type_hints

import numpy as np

_INTEGERS, _FLAGS = ("target_ids", "neurons", "rank", "neuron_rows"), ("top_changed",)


def check_fields(kind: type[Any], values: Mapping[str, Any]) -> None:
    """Refuse values of another type than the fields of a result have.

    Raises
    ------
    ValueError
        Names the field, what it is and what it must be.
    """
    hints = get_type_hints(kind)
    for field in fields(kind):
        if field.name not in values:
            if field.default is MISSING:
                raise ValueError(f"it has no {field.name!r}")
            continue
        value, hint = values[field.name], hints[field.name]
        if not _fits(value, hint):
            said = hint.__name__ if isinstance(hint, type) else str(hint)
            raise ValueError(f"{field.name!r} is {_shown(value)}; expected {said}")
        if isinstance(value, np.ndarray):
            _check_dtype(field.name, value)
    _check_prompts(values)


def _check_dtype(name: str, array: np.ndarray) -> None:
    expected = "i" if name in _INTEGERS else "b" if name in _FLAGS else "f"
    if array.dtype.kind != expected:
        raise ValueError(f"{name!r} is {_shown(array)}; expected {_DTYPES[expected]}")
    if expected == "i" and (array < 0).any():
        raise ValueError(f"{name!r} holds {array.min()}; expected nothing below 0")


_DTYPES = {"i": "integers", "b": "true or false", "f": "float32 or float64"}


def _check_prompts(values: Mapping[str, Any]) -> None:
    ids = values["target_ids"]
    for target in values["targets"]:
        if isinstance(target, list) != (ids.ndim == 2) or (
            isinstance(target, list) and len(target) != ids.shape[1]
        ):
            raise ValueError(f"'targets' has {_shown(target)} for 'target_ids' {list(ids.shape)}")
    for name in ("prompt_tokens", "positions", "target_tokens"):
        if values.get(name) is not None and len(values[name]) != len(values["prompts"]):
            raise ValueError(f"{name!r} has {len(values[name])} entries; expected one a prompt")
        if (np.array(list(_numbers(values.get(name) or []))) < 0).any():
            raise ValueError(f"{name!r} holds a number below 0")
    K = ids.shape[1] if ids.ndim == 2 else 1
    for row in values.get("target_tokens") or []:
        if len(row) != K or not all(row):
            raise ValueError(f"'target_tokens' has {_shown(row)}; expected tokens of {K} targets")
    if values["task"] not in ("causal", "masked"):
        raise ValueError(f"'task' is {_shown(values['task'])}; expected 'causal' or 'masked'")


def _numbers(value: Any) -> Iterator[int]:
    """Every number within lists of lists."""
    if isinstance(value, list):
        for one in value:
            yield from _numbers(one)
    else:
        yield value


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value that JSON or safetensors gave is of an annotated type."""
    if get_origin(hint) in (Union, types.UnionType):
        return any(_fits(value, one) for one in get_args(hint))
    if get_origin(hint) is list:
        return isinstance(value, list) and all(_fits(one, *get_args(hint)) for one in value)
    if hint is float:
        return type(value) in (int, float)
    if hint is np.ndarray:
        return isinstance(value, np.ndarray)
    return type(value) is hint


def _shown(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype}"
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
