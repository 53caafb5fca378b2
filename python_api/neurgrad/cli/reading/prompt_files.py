"""``--prompts FILE``: prompts with their answers from a table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from negkernel.extras import need

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = (".csv", ".jsonl", ".parquet", ".feather")
COLUMNS = ("prompt", "answer")


def read_prompts(path: Path) -> tuple[list[str], list[str]]:
    """Read the columns ``prompt`` and ``answer`` of a CSV, JSONL, Parquet or feather file.

    Parameters
    ----------
    path : Path
        Its suffix says the format. Other columns are ignored.

    Returns
    -------
    prompts, answers : list of str
        As many as the file has rows.

    Raises
    ------
    ValueError
        Unknown suffix, unreadable or empty file, a column missing, or a cell that is empty or
        not text; the message names row (1 is the first below the header) and column.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"unknown extension {path.suffix!r}; expected {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise ValueError("there is no such file")
    table = _read(path)
    for column in COLUMNS:
        if column not in table.columns:
            found = ", ".join(map(repr, map(str, table.columns))) or "none"
            raise ValueError(f"no column {column!r}; found {found}")
    if table.empty:
        raise ValueError("no rows; expected one prompt a row")
    prompts, answers = (
        [_text(value, row, column) for row, value in enumerate(table[column], start=1)]
        for column in COLUMNS
    )
    return prompts, answers


def _read(path: Path) -> pd.DataFrame:
    import pandas as pd

    suffix = path.suffix.lower()
    try:
        if suffix == ".csv":
            # Text as it stands: "NA" is Namibia's code and "007" is not 7.
            return pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
        if suffix == ".jsonl":
            return _read_jsonl(path)
        need("pyarrow", "parquet", f"a {suffix} file")
        return pd.read_parquet(path) if suffix == ".parquet" else pd.read_feather(path)
    except pd.errors.EmptyDataError:
        raise ValueError("the file is empty") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot be read as {suffix[1:]}: {error}") from error


def _read_jsonl(path: Path) -> pd.DataFrame:
    import json

    import pandas as pd

    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ValueError(f"line {number} is not JSON ({error})") from None
        if not isinstance(row, dict):
            raise ValueError(f"line {number} is not an object with keys 'prompt' and 'answer'")
        rows.append(row)
    if not rows:
        raise ValueError("the file is empty")
    return pd.DataFrame({key: [row.get(key) for row in rows] for key in rows[0]}, dtype=object)


def _text(value: object, row: int, column: str) -> str:
    # An answer such as 355 is a word to be predicted; a bool, a list or nothing is a mistake.
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise ValueError(f"row {row}, column {column!r}: {value!r} is not text")
    if not value.strip():
        raise ValueError(f"row {row}, column {column!r} is empty")
    return value
