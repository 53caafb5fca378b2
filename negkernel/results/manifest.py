"""Read and write what a folder of kept work says of itself: what was asked, and with what."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FORMAT, VERSION = "negkernel-run", 2
FILE = "manifest.json"
ADOPTED = ("threads", "memory_budget")  # of an environment: a process can take them over

_PART = re.compile(r"(?!manifest$)[A-Za-z0-9][A-Za-z0-9_-]{0,199}")  # no path out of the folder
_KINDS = {"kind": str, "asked": dict, "environment": dict, "parts": list | None}


class LedgerError(ValueError):
    """Kept work that cannot be used: something else is in its place."""


@dataclass(frozen=True)
class Manifest:
    """What a folder holds.

    Attributes
    ----------
    kind : str
        What is computed, such as "sweep".
    asked : dict
        Everything that the results depend on, as JSON can say it.
    environment : dict
        What they depend on in the last bits, see :mod:`negkernel.model.environment`.
    parts : list of str, or None
        Names of all parts, in order; None where they are not known from the start.
    """

    kind: str
    asked: dict[str, Any]
    environment: dict[str, Any]
    parts: list[str] | None

    @classmethod
    def of(
        cls,
        kind: str,
        asked: Mapping[str, Any],
        environment: Mapping[str, Any],
        parts: Sequence[str] | None,
    ) -> Manifest:
        """Make one of values that JSON may say in other types."""
        names = None if parts is None else list(parts)
        asked, environment = json.loads(json.dumps([dict(asked), dict(environment)]))
        return cls(kind, dict(asked), dict(environment), names)

    @property
    def text(self) -> str:
        """The file's content."""
        body = {"format": FORMAT, "version": VERSION, **vars(self)}
        return json.dumps({**body, "sha256": self.id}, indent=1) + "\n"

    @property
    def id(self) -> str:
        """Digest that every part of the work carries."""
        return hashlib.sha256(json.dumps(vars(self)).encode()).hexdigest()

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read a folder's manifest.

        Raises
        ------
        LedgerError
            There is none, it was altered or damaged, or it is not one that this version reads.
        """
        path = folder / FILE
        try:
            text = path.read_text(encoding="utf-8")
            content = json.loads(text)
        except FileNotFoundError as error:
            raise LedgerError(f"{folder} holds no kept work: there is no {FILE} in it") from error
        except (OSError, ValueError, RecursionError) as error:
            raise _unusable(path, f"cannot be read ({type(error).__name__})") from error
        if not isinstance(content, dict) or "format" not in content:
            raise _unusable(path, "was damaged, or written by an older version or something else")
        if content["format"] != FORMAT or content.get("version") != VERSION:
            raise _unusable(path, "was written by another version of negkernel")
        for field, kind in _KINDS.items():
            if field not in content or not isinstance(content[field], kind):
                raise _unusable(path, f"was altered: it has no proper {field!r}")
        found = cls(**{field: content[field] for field in _KINDS})
        if found.text != text:
            raise _unusable(path, "was altered after it was written (its checksum does not match)")
        for name in found.parts or []:
            check_part(name, path)
        return found

    def check_same(self, wanted: Manifest, folder: Path) -> None:
        """Refuse work on anything else than `wanted`.

        Raises
        ------
        LedgerError
            Names what differs.
        """
        names = [*wanted.asked, *(self.asked.keys() - wanted.asked.keys())]
        differ = [name for name in names if self.asked.get(name) != wanted.asked.get(name)]
        if self.kind != wanted.kind:
            reason = f"{self.kind}, not {wanted.kind}"
        elif differ:
            name = differ[0]
            found, asked = _short(self.asked.get(name)), _short(wanted.asked.get(name))
            reason = (
                f"another {self.kind}: it differs in {', '.join(differ)} (it was started with "
                f"{name} {found}, not {asked})"
            )
        elif self.parts != wanted.parts:
            reason = f"the same {self.kind} cut into other parts"
        else:
            return
        raise LedgerError(
            f"{folder} holds {reason}; ask the same, choose another folder, or delete it"
        )

    def check_environment(self, here: Mapping[str, Any], where: Path) -> None:
        """Refuse a process whose results would differ in the last bits.

        Raises
        ------
        LedgerError
            Names what differs from what the work was started with.
        """
        for name, value in self.environment.items():
            if name not in ADOPTED and here.get(name) != value:
                raise LedgerError(
                    f"the work in {where} was started with {name} {value}, and here it is "
                    f"{here.get(name)}: its last bits would differ from part to part; go on as it "
                    "was started, or delete the folder to start again"
                )


def check_part(name: Any, where: Path) -> str:
    """Return the name of a part if it can be a file's in the folder.

    Raises
    ------
    LedgerError
        It is something else, or leads out of the folder.
    """
    if not isinstance(name, str) or not _PART.fullmatch(name):
        raise LedgerError(f"{where}: {_short(name)} is not the name of a part; delete the folder")
    return name


def _unusable(path: Path, reason: str) -> LedgerError:
    return LedgerError(f"{path} {reason}; delete {path.parent} to start again")


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
