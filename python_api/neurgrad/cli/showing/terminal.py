"""Put text of users on the terminal without letting it act there."""

from __future__ import annotations

import sys
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

NAME = "negkernel: "
# Control characters, halves of pairs, line and paragraph separators: a terminal obeys them.
_ACTIVE = ("Cc", "Cs", "Zl", "Zp")
# Marks that change the direction of what follows and make text look like another.
_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def plain(text: object) -> str:
    """Return text with every character that a terminal would obey written as its escape."""
    return "".join(
        c.encode("unicode_escape").decode()
        if unicodedata.category(c) in _ACTIVE or c in _TURNING
        else c
        for c in str(text)
    )


def console() -> Console:
    """Return stdout as a rich console on which brackets and colons are only themselves."""
    from rich.console import Console

    line.end()
    return Console(highlight=False, markup=False, emoji=False)


def tell(text: object) -> None:
    """Print a line on stdout."""
    line.end()
    print(plain(text))


def counted(n: int, thing: str) -> str:
    """Return how many there are, in the singular where there is one."""
    return f"{n:,} {thing}" if n == 1 else f"{n:,} {thing}s"


class _Line:
    """The line of stderr that is being written.

    A step is announced before it is taken and its line left open, so that an error ends that line:
    what was done and why it failed are one line.
    """

    def __init__(self) -> None:
        self._open = False

    def begin(self, text: str) -> None:
        self._write(text)
        self._open = True

    def say(self, text: str) -> None:
        self.end()
        self._write(f"{text}\n")

    def fail(self, text: str) -> None:
        self._write(f"{text}\n")
        self._open = False

    def end(self) -> None:
        if self._open:
            sys.stderr.write("\n")
            self._open = False

    def _write(self, text: str) -> None:
        line = plain(" ".join(text.split())) + "\n" * text.endswith("\n")
        sys.stderr.write(f" {line}" if self._open else f"{NAME}{line}")
        sys.stderr.flush()


line = _Line()
