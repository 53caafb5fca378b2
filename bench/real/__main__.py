"""Run the steps of the study that are not done, and write its page from what they kept."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from bench.real.report import write
from bench.real.steps import Size, steps
from neurgrad import real

DOCS = Path(__file__).parents[2] / "docs"
# Of few tokens, and with labels that are one token each.
TASKS = (
    *("agnews", "fever", "myriadlama", "commonsenseqa"),
    *("clang8", "stereoset", "mnli", "paws"),
)
MODELS = ("smollm2", "antiberty")


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status."""
    asked = _parser().parse_args(arguments)
    asked.output.mkdir(parents=True, exist_ok=True)
    wanted = MODELS if asked.residues else MODELS[:1]
    models = {name: getattr(asked, name) or real.folder(name) for name in wanted}
    made = steps(asked.output, asked.facts, models, Size.of(asked), asked.tasks)
    chosen = [step.name for step in made] if asked.only is None else asked.only
    for step in made:
        if step.name in chosen:
            print(f"{step.name} ...", flush=True)
            step.finish()
            print(f"{step.name}: {step.cost['processor']:,.0f} s of a core", flush=True)
    write(made, Size.of(asked), asked.tasks, asked.docs)
    print(f"Wrote {asked.docs / 'real.md'}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.real", description=__doc__)
    parser.add_argument(
        "--facts", type=Path, nargs="+", required=True, help="read until enough are known"
    )
    parser.add_argument("--tasks", nargs="*", default=TASKS, help="of MCEval8K, for the probes")
    parser.add_argument("--output", type=Path, default=Path("real-study"), help="keeps all steps")
    parser.add_argument("--docs", type=Path, default=DOCS, help="where real.md is written")
    parser.add_argument(
        "--only", nargs="*", metavar="STEP", help="run these steps, none for the page alone"
    )
    for name in MODELS:
        parser.add_argument(f"--{name}", type=Path, help="its folder; by default neurgrad.real's")
    for field in fields(Size):
        parser.add_argument(f"--{field.name}", type=int, default=field.default)
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
