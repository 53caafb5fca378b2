"""Measure what comes before a first question: bytes installed, seconds until it starts."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from bench.registry import Settings
from bench.report import Record

ROOT = Path(__file__).parents[1]
MEGABYTE = 10**6
SPARED = 400.0  # megabytes that the extras must keep out of the core
IMPORT_GOAL, HELP_GOAL = 0.1, 0.5
# PyTorch for a GPU brings these along; without one nobody has them.
OF_GPUS = ("nvidia", "cuda", "triton")


def run(settings: Settings) -> list[Record]:
    """The core against all extras, then the import and the first line of help."""
    core, whole = (_megabytes(extras) for extras in ((), ("all",)))
    times = {
        "import negkernel": (["-c", "import negkernel"], IMPORT_GOAL),
        "negkernel --help": (["-m", "neurgrad.cli", "--help"], HELP_GOAL),
    }
    bare = _seconds(["-c", "pass"], settings.repeats)
    records = [
        Record("installed", "core", _measures(megabytes=core, spared=whole - core, goal=SPARED)),
        Record("installed", "with all extras", _measures(megabytes=whole)),
        Record("start", "python alone", _measures(seconds=bare)),
    ]
    for name, (words, goal) in times.items():
        seconds = _seconds(words, settings.repeats)
        # An import is what it adds to a bare interpreter; a command is all that one waits for.
        seconds -= bare if words[0] == "-c" else 0.0
        records.append(Record("start", name, _measures(seconds=seconds, goal=goal)))
    return records


def _measures(
    megabytes: float | None = None,
    spared: float | None = None,
    seconds: float | None = None,
    goal: float | None = None,
) -> dict[str, float | None]:
    return {"megabytes": megabytes, "spared_mb": spared, "seconds": seconds, "goal": goal}


def _seconds(words: list[str], repeats: int) -> float:
    """Median wall time of a Python process."""
    found = []
    for _ in range(max(repeats, 3)):
        began = time.perf_counter()
        subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
        found.append(time.perf_counter() - began)
    return statistics.median(found)


def _megabytes(extras: Iterable[str]) -> float:
    """Size of the files of negkernel's dependencies, and of theirs, as they are installed here."""
    stated = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    optional = stated["optional-dependencies"]
    waiting = [*stated["dependencies"], *(text for extra in extras for text in optional[extra])]
    sizes: dict[str, int] = {}
    seen = set()
    while waiting:
        needed = Requirement(waiting.pop())
        name = canonicalize_name(needed.name)
        if (name, *needed.extras) in seen or name.startswith(OF_GPUS) or not _holds(needed):
            continue
        seen.add((name, *needed.extras))
        if name == "negkernel":
            waiting += [text for extra in needed.extras for text in optional[extra]]
            continue
        try:
            found = distribution(name)
        except PackageNotFoundError:
            continue  # of those that nobody asked for here
        places = [found.locate_file(file) for file in found.files or ()]
        sizes[name] = sum(place.stat().st_size for place in places if place.is_file())
        waiting += [
            f"{one.name}[{','.join(one.extras)}]"
            for one in map(Requirement, found.requires or ())
            if any(_holds(one, extra) for extra in ("", *needed.extras))
        ]
    return sum(sizes.values()) / MEGABYTE


def _holds(needed: Requirement, extra: str = "") -> bool:
    return needed.marker is None or needed.marker.evaluate({"extra": extra})
