"""List the steps in order of importance: a run that is cut short has the first ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from bench import kernels, ladder, masked
from bench.gpu import models
from bench.gpu.checks import checks
from bench.gpu.facts import facts
from bench.gpu.models import Subject
from bench.gpu.profile import profile
from bench.models import Shape
from bench.registry import Settings
from bench.report import Record

ALWAYS = ("facts", "checks")
# Weights so large that curves bend as a trained model's do; the usual ones leave them straight.
SHARP = 0.06


@dataclass(frozen=True)
class Step:
    """One part of the run, and the seconds that must be left for it to be begun."""

    run: Callable[[], list[Record]]
    room: float = 60.0


def steps(device: str, dry: bool) -> dict[str, Step]:
    """Return the steps by name."""
    first, last = subjects(device, dry)
    sharp = replace(first, name=f"{first.name} sharp", std=SHARP)
    settings = Settings(repeats=2 if dry else 5, device=device, quick=dry)
    plan = {
        "facts": Step(lambda: facts(device), room=0.0),
        "checks": Step(lambda: checks(device, large=not dry), room=0.0),
        f"sweep {first.name}": Step(partial(models.sweep, first)),
        f"gradients {first.name}": Step(partial(models.gradients, first), room=15.0),
        f"neg_map {first.name}": Step(partial(models.neg_map, first)),
        f"profile {first.name}": Step(partial(profile, first), room=20.0),
        f"integrated {first.name}": Step(partial(_last, models.integrated, first), room=15.0),
        f"neg_map {sharp.name}": Step(partial(_last, models.neg_map, sharp), room=90.0),
        "ladder": Step(lambda: ladder.run(device, quick=dry)),
    }
    if last is not first:
        plan |= {
            f"sweep {last.name}": Step(partial(models.sweep, last)),
            f"gradients {last.name}": Step(partial(_last, models.gradients, last), room=15.0),
            "masked BERT-base": Step(lambda: masked.run(settings), room=30.0),
        }
    return plan | {"kernels": Step(lambda: kernels.run(settings), room=100.0)}


def subjects(device: str, dry: bool) -> tuple[Subject, Subject]:
    """Return the models of the steps: two on a GPU, one and the same tiny one on a CPU."""
    if dry:
        shape = Shape(hidden=32, layers=2, heads=2, kv_heads=1, inner=16, vocabulary=100)
        sizes = {"tokens": 5, "neurons": 4, "shifts": 4, "prompts": 2, "repeats": 2}
        tiny = Subject("tiny", shape, device, **sizes, quick=True)
        return tiny, tiny
    return (
        Subject("Llama-2-7B", models.LLAMA_2_7B, device),
        Subject("Llama-3.1-8B", models.LLAMA_3_1_8B, device),
    )


def _last(work: Callable[[Subject], list[Record]], subject: Subject) -> list[Record]:
    """Do the last work on a model, and make room for the next one."""
    try:
        return work(subject)
    finally:
        subject.release()
