"""Print results as JSON, for programs."""

from __future__ import annotations

import json
import math
from typing import Any

import negkernel
from neurgrad.cli.showing.terminal import line


def print_json(document: dict[str, Any]) -> None:
    """Print one JSON object on stdout: the version, and what is given; NaN becomes null."""
    found = {"negkernel": negkernel.__version__, **document}
    line.end()
    print(json.dumps(_known(found), indent=2, allow_nan=False))


def _known(value: Any) -> Any:
    """Replace numbers that JSON cannot write, and those of numpy, in a document."""
    if isinstance(value, dict):
        return {str(name): _known(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_known(one) for one in value]
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value
