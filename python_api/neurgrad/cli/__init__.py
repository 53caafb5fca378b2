"""The command ``negkernel``: sweeps, gradients and their files without writing Python.

``app`` lists the commands, one file each. ``negkernel --help`` imports neither torch nor
transformers: a command imports what it runs when it runs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``negkernel`` and return its exit status.

    Parameters
    ----------
    arguments : sequence of str, optional
        What follows ``negkernel`` on the command line; taken from there by default.

    Returns
    -------
    int
        0, 2 for input that cannot be used (one line on stderr says why), 130 after Ctrl-C.
    """
    # Threads that spin while they wait keep the one they wait for from a core that is shared. Read
    # when torch is imported; a program that has done so goes on as it is.
    if "torch" not in sys.modules and "GOMP_SPINCOUNT" not in os.environ:
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from neurgrad.cli.app import run

    return run(arguments)
