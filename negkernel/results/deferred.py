"""Read fields of a result when they are first looked at."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Self


class Deferred:
    """A result, some of whose fields may still be in the folder that it was kept in."""

    __slots__ = ("_deferred",)
    _deferred: tuple[Path, Collection[str], Callable[[str], Any]]

    @classmethod
    def in_folder(cls, folder: Path, known: Mapping[str, Any], read: Callable[[str], Any]) -> Self:
        """Make one of which only the fields ``known`` are in memory; ``read(name)`` gets others."""
        made = object.__new__(cls)
        for name, value in known.items():
            object.__setattr__(made, name, value)
        names = {field.name for field in fields(cls)} - known.keys()  # type: ignore[arg-type]
        object.__setattr__(made, "_deferred", (folder, names, read))
        return made

    def __getattr__(self, name: str) -> Any:
        """Read a field that is not in memory; it stays there from then on."""
        if name != "_deferred" and hasattr(self, "_deferred"):
            _, names, read = self._deferred
            if name in names:
                object.__setattr__(self, name, read(name))
                return getattr(self, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def kept_in(self) -> Path | None:
        """The folder where the arrays are until they are looked at; None: they are in memory."""
        return self._deferred[0] if hasattr(self, "_deferred") else None
