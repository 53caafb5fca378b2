"""``--output`` and ``--plot``: checked before any work, written in one step after it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from negkernel.extras import need
from neurgrad.cli.showing.spreadsheets import write_csv

if TYPE_CHECKING:
    import pandas as pd

    from negkernel import Gradients, NegMap, Sweep
    from neurgrad.cli.reading.job import Job

SUFFIXES = (".csv", ".parquet", ".safetensors")
STDOUT = Path("-")


def check_output(path: Path) -> None:
    """Refuse a file that could not be written.

    Raises
    ------
    ValueError
        Unknown extension, a folder in its place, or a folder that is missing or read-only.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"unknown extension {path.suffix!r}; expected {', '.join(SUFFIXES)}")
    if path.is_dir():
        raise ValueError("a folder is in its place")
    if path.exists() and not os.access(path, os.W_OK):
        raise ValueError("the file exists and is read-only")
    _check_folder(path.parent)


def check_csv(path: Path) -> None:
    """Refuse a file that could not be written, or is not named as CSV; errors as `check_output`."""
    if path.suffix.lower() != ".csv":
        raise ValueError("expected a name that ends in .csv")
    check_output(path)


def check_plot_folder(path: Path) -> None:
    """Refuse a folder that could not be made or written to.

    Raises
    ------
    ValueError
        A file in its place, or a parent that is missing or read-only.
    """
    if path.exists() and not path.is_dir():
        raise ValueError("a file is in its place")
    existing = path
    while not existing.exists():
        existing = existing.parent
    _check_folder(existing)


def run_folder(output: Path) -> Path:
    """Return where the finished shards of a run towards `output` are kept."""
    return output.with_name(output.name + ".run")


@contextmanager
def kept_in(job: Job) -> Iterator[Path]:
    """Give the folder in which a job keeps its finished shards.

    It is made before anything else, so that from then on ``--resume`` knows the output that may
    already be there for an older one. It goes again if nothing was put into it.
    """
    if job.output is None or job.asked.dry_run:
        with tempfile.TemporaryDirectory(prefix="negkernel-") as folder:
            yield Path(folder)
        return
    folder_path = run_folder(job.output)
    from negkernel.results.ledger import remove_retired

    remove_retired(folder_path)
    folder_path.mkdir(exist_ok=True)
    try:
        yield folder_path
    finally:
        with suppress(OSError):  # it is gone, or somebody has put something into it
            folder_path.rmdir()


def write_result(
    result: Sweep | Gradients | NegMap, frame: pd.DataFrame | None, path: Path
) -> None:
    """Write a result in the format that the path's extension names.

    Parameters
    ----------
    result : Sweep, Gradients or NegMap
        Written whole as safetensors.
    frame : DataFrame or None
        Its table, for CSV and Parquet.
    path : Path

    Raises
    ------
    OSError
        It cannot be written; the message says what would help.
    """
    from negkernel.results.files import replace_file

    if frame is None:
        result.save(path)
    elif path.suffix.lower() == ".csv":
        replace_file(path, partial(write_csv, frame))
    else:
        need("pyarrow", "parquet", "a Parquet file")
        replace_file(path, partial(frame.to_parquet, index=False))


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}")
    try:  # root, network shares and read-only mounts make permission bits say little
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(f"cannot write in {folder}: {error.strerror}") from None
