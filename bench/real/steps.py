"""Compute what the study reports, step by step, each kept in a folder of its own."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path

from bench.real.command import negkernel
from bench.real.known import choose_facts, choose_residues
from bench.real.samples import sampled
from bench.real.variants import half_precision, released_batches

FIRST = ["table1", "table2"]
MORE = ["table5", "fig3"]
MAPS = ["fig4", "fig10", "fig12"]


@dataclass(frozen=True)
class Size:
    """How much is measured.

    Attributes
    ----------
    prompts, residues : int
        Known prompts of SmolLM2 and of AntiBERTy; without residues that one is left out.
    neurons : int
        Random neurons of each.
    maps, many, lpi, half : int
        Of SmolLM2's prompts those whose every neuron is measured, that many neurons are enhanced
        together for, that LPI is computed for, and that are swept by whole forwards in bfloat16.
    train, test : int
        Prompts of each probe task.
    """

    prompts: int = 100
    residues: int = 20
    neurons: int = 100
    maps: int = 10
    many: int = 20
    lpi: int = 5
    half: int = 4
    train: int = 1000
    test: int = 200

    @classmethod
    def of(cls, asked: object) -> Size:
        """Take what was asked on the command line."""
        return cls(**{field.name: getattr(asked, field.name) for field in fields(cls)})


@dataclass
class Step:
    """One command, or one function, with what it cost beside its results."""

    name: str
    folder: Path
    run: Callable[[], object]

    @property
    def cost(self) -> dict[str, float]:
        """Seconds by the clock and of the processor so far, and whether it is done (1 or 0)."""
        path = self.folder / f"{self.name}.cost.json"
        nothing = {"seconds": 0.0, "processor": 0.0, "done": 0}
        return json.loads(path.read_text()) if path.exists() else nothing

    def finish(self) -> None:
        """Run it unless it is done; what an interrupted run took is counted too."""
        before, done = self.cost, 0
        if before["done"]:
            return
        clock, processor = time.perf_counter(), time.process_time()
        try:
            self.run()
            done = 1
        finally:
            cost = {
                "seconds": before["seconds"] + time.perf_counter() - clock,
                "processor": before["processor"] + time.process_time() - processor,
                "done": done,
            }
            (self.folder / f"{self.name}.cost.json").write_text(json.dumps(cost))


def steps(
    folder: Path, facts: Sequence[Path], models: dict[str, Path], size: Size, tasks: Sequence[str]
) -> list[Step]:
    """All steps: what more depends on comes first, what is dear comes last."""
    smollm2 = models["smollm2"]
    known = {name: folder / f"{name}-known.csv" for name in models}

    def study(
        model: str, *names: str | int, of: str = "", limit: int, estimators: str = "CG,IG,NeurGrad"
    ) -> Callable[[], None]:
        # What is dear is asked of fewer prompts, each in a folder of its own.
        asked = ["--prompts", known[model], "--limit", limit, "--neurons", size.neurons]
        asked += ["--estimators", estimators]
        where = ["--model", models[model], "-o", folder / f"{model}{of}"]
        return partial(negkernel, "reproduce", *names, *asked, *where)

    def probe(task: str) -> Callable[[], None]:
        few = ["--limit", size.train, "--test-limit", size.test, "--splits", "clean"]
        where = ["--model", smollm2, "-o", folder / "probes" / task]
        return partial(negkernel, "probe", "table3", "--task", task, *few, *where)

    every = partial(study, "smollm2", limit=size.prompts)
    tables = smollm2, folder / "smollm2"
    masked = []
    if "antiberty" in models:
        some = models["antiberty"], size.residues, known["antiberty"]
        masked = [("antiberty-known", partial(choose_residues, *some))]
        residues = study("antiberty", *FIRST, *MORE, limit=size.residues)
        masked += [("antiberty-tables", residues)]
    lpi = study("smollm2", "table2", of="-lpi", limit=size.lpi, estimators="LPI,NeurGrad")
    maps = study("smollm2", *MAPS, "--map-prompts", size.maps, of="-maps", limit=size.maps)
    made: list[tuple[str, Callable[[], object]]] = [
        ("smollm2-known", partial(choose_facts, smollm2, facts, size.prompts, known["smollm2"])),
        ("smollm2-tables", every(*FIRST)),
        ("smollm2-strongest", every(*MORE)),
        ("batching", partial(released_batches, *tables)),
        ("smollm2-ranges", every("fig2")),
        ("half", partial(half_precision, *tables, size.half)),
        *masked,
        ("smollm2-maps", maps),
        ("samples", partial(sampled, smollm2, folder / "smollm2-maps")),
        ("smollm2-lpi", lpi),
        ("smollm2-many", study("smollm2", "fig5", of="-many", limit=size.many)),
        *((f"probe-{task}", probe(task)) for task in tasks),
    ]
    return [Step(name, folder, run) for name, run in made]
