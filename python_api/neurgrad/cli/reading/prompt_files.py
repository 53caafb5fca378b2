"""Read prompts with their answers from a file, ``--prompts FILE``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

COLUMNS = ("prompt", "answer")
COLUMNAR = (".parquet", ".feather")
SUFFIXES = (".csv", ".jsonl", *COLUMNAR)
STDIN = Path("-")


def read_prompts(path: Path) -> tuple[list[str], list[str]]:
    """Read the columns ``prompt`` and ``answer`` of a CSV, JSONL, Parquet or feather file.

    Parameters
    ----------
    path : Path
        Its suffix says the format. Other columns are ignored. ``-`` is the standard input: JSON
        lines where it begins with a brace, CSV otherwise.

    Returns
    -------
    prompts, answers : list of str
        As many as the file has rows.

    Raises
    ------
    ValueError
        As :func:`read_table`; a column that is missing or there twice, or a cell that is empty or
        not text. The message names row (1 is the first below the header) and column.
    """
    if path.suffix.lower() == ".json":
        raise ValueError(f"unknown extension '.json'; expected {', '.join(SUFFIXES)}")
    return checked(*read_table(path, COLUMNS))


def read_table(
    path: Path, wanted: Sequence[str] = ()
) -> tuple[Sequence[str], Sequence[Sequence[object]]]:
    """Read the names of a table's columns and its rows.

    Parameters
    ----------
    path : Path
        As in :func:`read_prompts`, or a JSON file with a list of objects.
    wanted : list of str
        Columns to read of Parquet and feather files, by default all.

    Raises
    ------
    ValueError
        Unknown suffix, unreadable or empty file, or a row with more or fewer fields than the
        header.
    """
    suffix = path.suffix.lower()
    if path != STDIN:
        if suffix not in (*SUFFIXES, ".json"):
            raise ValueError(f"unknown extension {suffix!r}; expected {', '.join(SUFFIXES)}")
        if not path.is_file():
            what = "a folder, not a file" if path.is_dir() else "there is no such file"
            raise ValueError(what)
    if suffix in COLUMNAR:
        from neurgrad.cli.reading.columnar import read_apart

        return read_apart(path, wanted)
    content = sys.stdin.buffer.read() if path == STDIN else path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"cannot be read as UTF-8 text: {error}") from None
    if not text.strip():
        raise ValueError("the file is empty")
    if suffix == ".json":
        return _read_json(text)
    lines = suffix == ".jsonl" or (path == STDIN and text.lstrip().startswith("{"))
    return _read_jsonl(text) if lines else _read_csv(text)


def checked(names: Sequence[str], rows: Sequence[Sequence[object]]) -> tuple[list[str], list[str]]:
    """Return prompts and answers of a table, given as rows below the names of its columns.

    Raises
    ------
    ValueError
        As :func:`read_prompts`.
    """
    for column in COLUMNS:
        if (times := list(names).count(column)) != 1:
            found = ", ".join(map(repr, names)) or "none"
            what = "no" if times == 0 else f"{times} times the"
            raise ValueError(f"{what} column {column!r}, expected one; found {found}")
    if not rows:
        raise ValueError("no rows; expected one prompt a row")
    places = [list(names).index(column) for column in COLUMNS]
    prompts, answers = (
        [_text(row[place], number, COLUMNS[i]) for number, row in enumerate(rows, start=1)]
        for i, place in enumerate(places)
    )
    return prompts, answers


def _read_csv(text: str) -> tuple[list[str], list[list[str]]]:
    """Cells as they stand: "NA" is Namibia's code and "007" is not 7."""
    import csv
    import io

    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        names, *rows = [row for row in reader if row]
    except csv.Error as error:
        raise ValueError(f"cannot be read as CSV: line {reader.line_num}: {error}") from None
    for number, row in enumerate(rows, start=1):
        if len(row) != len(names):
            raise ValueError(
                f"row {number} has {len(row)} fields and the header {len(names)}; text that holds "
                "a comma or a line's end belongs in double quotes"
            )
    return names, rows


def _read_jsonl(text: str) -> tuple[list[str], list[list[object]]]:
    # Lines end in line feeds only: other separators, such as U+2028, may stand within a string.
    found = [
        _object(line, number)
        for number, line in enumerate(text.split("\n"), start=1)
        if line.strip()
    ]
    return _table(found)


def _read_json(text: str) -> tuple[list[str], list[list[object]]]:
    import json

    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"cannot be read as JSON: {error}") from None
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise ValueError("is not a list of objects, one for each fact")
    return _table(found)


def _table(found: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[object]]]:
    names = list(dict.fromkeys(name for row in found for name in row))
    return names, [[row.get(name) for name in names] for row in found]


def _object(line: str, number: int) -> dict[str, Any]:
    import json

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        read = dict(pairs)
        if len(read) < len(pairs):
            raise ValueError(f"line {number} has a key twice")
        return read

    try:
        row = json.loads(line, object_pairs_hook=once)
    except json.JSONDecodeError as error:
        raise ValueError(f"line {number} is not JSON ({error})") from None
    except RecursionError:
        raise ValueError(f"line {number} is nested too deeply") from None
    if not isinstance(row, dict):
        raise ValueError(f"line {number} is not an object with keys 'prompt' and 'answer'")
    return row


def _text(value: object, row: int, column: str) -> str:
    # An answer such as 355 is a word to be predicted; a bool, a list or nothing is a mistake.
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise ValueError(f"row {row}, column {column!r}: {value!r} is not text")
    if not value.strip():
        raise ValueError(f"row {row}, column {column!r} is empty")
    return value
