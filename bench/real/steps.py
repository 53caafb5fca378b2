"""Compute what the study reports, step by step, each kept in a folder of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from bench.real.variants import half_precision, released_batches
from neurgrad.cli import main

# Heavy chain of trastuzumab, variable domain.
ANTIBODY = (
    "EVQLVESGGGLVQPGGSLRLSCAASGFNIKDTYIHWVRQAPGKGLEWVARIYPTNGYTRYADSVKG"
    "RFTISADTSKNTAYLQMNSLRAEDTAVYYCSRWGGDGFYAMDYWGQGTLVTVSS"
)
CHEAP = ["table1", "table2", "table5", "fig3"]
LONG = ["fig2", "fig5"]
MAPS = ["fig4", "fig10", "fig12"]


@dataclass(frozen=True)
class Size:
    """How much is measured.

    Attributes
    ----------
    prompts, maps, lpi, half : int
        Known prompts, and of these those whose every neuron is measured, that LPI is computed for,
        and that are swept by whole forwards in bfloat16.
    """

    prompts: int
    maps: int
    lpi: int
    half: int


class Step:
    """One command, or one function, with the seconds that it took beside its results."""

    def __init__(self, name: str, folder: Path, run: Callable[[], object]):
        self.name, self.run = name, run
        self.done = folder / f"{name}.seconds"

    def finish(self) -> float:
        """Run it unless it is done, and return its seconds."""
        if not self.done.exists():
            start = time.perf_counter()
            self.run()
            self.done.write_text(f"{time.perf_counter() - start:.1f}")
        return float(self.done.read_text())


def command(*words: str | Path | int) -> Callable[[], None]:
    """Return what runs ``negkernel`` with these words."""

    def run() -> None:
        if status := main([str(word) for word in words]):
            raise SystemExit(status)

    return run


def steps(folder: Path, facts: Sequence[Path], models: dict[str, Path], size: Size) -> list[Step]:
    """All steps, the cheap ones first."""
    known = {name: folder / f"{name}-known.csv" for name in models}
    sequence = folder / "antiberty-facts.csv"
    limits = ["--limit", size.prompts]
    maps = ["--map-prompts", size.maps, "--range-prompts", size.maps]

    def study(model: str, *names: str, more: tuple = ()) -> Callable[[], None]:
        asked = ["reproduce", "--model", models[model], *names, "--prompts", known[model]]
        # LPI is the dearest by far and has a step of its own.
        return command(
            *asked, *limits, *maps, "--estimators", "CG,IG,NeurGrad", "-o", folder / model, *more
        )

    def choose() -> None:
        parts = []
        for file in facts:
            parts.append(folder / f"smollm2-{file.parent.name}-{file.stem}.csv")
            ask = ["prompts", "--model", models["smollm2"], file, *limits, "-o", parts[-1]]
            if not parts[-1].exists():
                command(*ask, "--template", "{before}")()
        whole = pd.concat(map(pd.read_csv, parts)).drop_duplicates("prompt")
        whole[: size.prompts].to_csv(known["smollm2"], index=False)

    def masked() -> None:
        _masked(ANTIBODY).to_csv(sequence, index=False)
        ask = ["prompts", "--model", models["antiberty"], sequence, *limits]
        command(*ask, "-o", known["antiberty"])()

    few = ["--limit", size.lpi, "--estimators", "LPI,NeurGrad"]
    lpi = ["reproduce", "table2", "--model", models["smollm2"], "--prompts", known["smollm2"], *few]
    some = known["smollm2"], models["smollm2"], folder / "smollm2"
    made = [
        ("smollm2-prompts", choose),
        ("smollm2-tables", study("smollm2", *CHEAP)),
        ("antiberty-prompts", masked),
        ("antiberty-tables", study("antiberty", *CHEAP)),
        ("batching", lambda: released_batches(*some)),
        ("half", lambda: half_precision(*some, size.half)),
        ("antiberty-maps", study("antiberty", *LONG, *MAPS)),
        ("smollm2-long", study("smollm2", *LONG)),
        ("lpi", command(*lpi, "-o", folder / "lpi")),
        ("smollm2-maps", study("smollm2", *MAPS)),
        ("smollm2", study("smollm2", "all")),
        ("antiberty", study("antiberty", "all")),
    ]
    return [Step(name, folder, run) for name, run in made]


def _masked(sequence: str) -> pd.DataFrame:
    """A prompt for each residue, with a mask in its place."""
    rows = [
        (" ".join(["[MASK]" if i == k else s for k, s in enumerate(sequence)]), residue)
        for i, residue in enumerate(sequence)
    ]
    return pd.DataFrame(rows, columns=["prompt", "answer"])
