"""Prepare real models and print their folders: ``python -m neurgrad.real [NAME ...]``."""

from __future__ import annotations

import sys

from neurgrad.cli.showing.quiet import quiet_loading
from neurgrad.real import SOURCES, folder


def main(names: list[str]) -> int:
    """Prepare the models called ``names``, or all; return the exit status."""
    for name in names or SOURCES:
        try:
            with quiet_loading():
                path = folder(name)
        except ValueError as error:
            print(f"Error: {error}", file=sys.stderr)
            return 2
        print(f"{name} is licensed {SOURCES[name].licence}", file=sys.stderr)
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
