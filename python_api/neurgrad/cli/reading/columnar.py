"""Read Parquet and feather files in a process of their own, which a damaged file may end.

Arrow trusts offsets and lengths that a file states: a flipped bit can abort the process or keep it
busy for ever, and neither can be caught from within.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from negkernel.extras import need

SECONDS = 300  # a million prompts take less than ten


def read_apart(path: Path, wanted: Sequence[str]) -> tuple[list[str], list[list[object]]]:
    """Return names of columns and rows of a file, read by another process.

    Parameters
    ----------
    wanted : list of str
        Columns that are read where the file has each of them once; if empty, all are.

    Raises
    ------
    ValueError
        The file cannot be read, and where reading it ends that process or takes longer than five
        minutes.
    ModuleNotFoundError
        pyarrow is missing.
    """
    kind = path.suffix.lower()
    need("pyarrow", "parquet", f"a {kind} file")
    command = [sys.executable, "-m", __name__, str(path), *wanted]
    try:
        done = subprocess.run(command, capture_output=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise ValueError(
            f"cannot be read as {kind[1:]} within {SECONDS} s; it is damaged, or too large"
        ) from None
    if done.returncode != 0:
        raise ValueError(f"cannot be read as {kind[1:]}: it is damaged, and reading it crashes")
    found = json.loads(done.stdout)
    if "error" in found:
        raise ValueError(found["error"])
    return found["names"], found["rows"]


def main(path: Path, wanted: Sequence[str]) -> None:
    """Write the table of a file, or why it has none, to stdout as JSON."""
    try:
        names, columns = _columns(path, wanted)
    except Exception as error:  # Arrow raises what it likes
        reason = " ".join(str(error).split()) or type(error).__name__
        json.dump({"error": f"cannot be read as {path.suffix.lower()[1:]}: {reason}"}, sys.stdout)
        return
    rows = list(zip(*columns, strict=True))
    json.dump({"names": names, "rows": rows}, sys.stdout, default=str)


def _columns(path: Path, wanted: Sequence[str]) -> tuple[list[str], list[list[object]]]:
    """Names of all columns, and the values of all where the wanted ones are among them."""
    import pyarrow.feather
    import pyarrow.parquet

    if path.suffix.lower() == ".parquet":
        table = pyarrow.parquet.ParquetFile(path).read()
    else:
        table = pyarrow.feather.read_table(path, memory_map=False)
    table.validate(full=True)
    if any(table.column_names.count(name) != 1 for name in wanted):
        return table.column_names, []
    names = list(wanted) or table.column_names
    return names, [table.column(name).to_pylist() for name in names]


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
