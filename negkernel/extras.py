"""Name the extra that brings an optional package, where the package is missing."""

from __future__ import annotations

import importlib.util


def need(package: str, extra: str, purpose: str) -> None:
    """Check that ``package`` is installed.

    Raises
    ------
    ModuleNotFoundError
        It is not; the message says what needs it and how to install it.
    """
    if importlib.util.find_spec(package) is None:
        raise ModuleNotFoundError(
            f"{purpose} needs the package {package!r}, which is not installed; "
            f"run: pip install 'negkernel[{extra}]'",
            name=package,
        )
