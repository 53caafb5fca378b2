"""Give each library a copy of one model of its own: some leave hooks in what they are given."""

from __future__ import annotations

import copy
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from neurgrad import demo, real


class Models:
    """The real model where it is prepared, else the embedded one.

    Attributes
    ----------
    engine : Engine
    note : str
        Which model it is.
    """

    def __init__(self, *, quick: bool):
        trained = not quick and real.is_prepared("smollm2")
        self.engine = real.load("smollm2") if trained else demo.load("causal")
        self.model, self.tokenizer = self.engine.model, self.engine.tokenizer
        why = "" if trained or quick else "; `make real` prepares the real one"
        self.note = "SmolLM2-135M-Instruct" if trained else f"the embedded model{why}"

    def copy(self) -> Any:
        """Return a copy of the model."""
        return copy.deepcopy(self.model)

    def exact(self) -> Any:
        """Return a copy in float64."""
        return self.copy().double()


def missing(package: str, major: int | None = None) -> str | None:
    """Return why a library cannot compete, None where it can."""
    wanted = package if major is None else f"{package} {major}"
    try:
        found = version(package)
    except PackageNotFoundError:
        return f"not installed: {wanted}"
    if major is not None and int(found.split(".")[0]) != major:
        return f"not installed: {wanted} ({found} is)"
    return None
