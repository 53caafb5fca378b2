"""Run commands of ``negkernel`` in this process."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from pathlib import Path

from neurgrad.cli import main


def negkernel(*words: str | Path | float, said: Path | None = None) -> None:
    """Run ``negkernel`` with these words; its JSON goes to `said`, where that is given."""
    asked = [str(word) for word in words]
    if said is None:
        status = main(asked)
    else:
        with redirect_stdout(io.StringIO()) as out:
            status = main([*asked, "--json"])
    if status:
        raise SystemExit(status)
    if said is not None:
        said.write_text(out.getvalue())
