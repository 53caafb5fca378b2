"""Run the steps of the study that are not done, and write its page from what they kept."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from bench.real.report import write
from bench.real.steps import Size, steps
from neurgrad import real

PAGE = Path(__file__).parents[2] / "docs" / "real.md"


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status."""
    asked = _parser().parse_args(arguments)
    asked.output.mkdir(parents=True, exist_ok=True)
    models = {name: getattr(asked, name) or real.folder(name) for name in ("smollm2", "antiberty")}
    size = Size(asked.prompts, asked.maps, asked.lpi, asked.half)
    for step in steps(asked.output, asked.facts, models, size):
        if not asked.page_only or step.done.exists():
            print(f"{step.name}: {step.finish():,.0f} s", flush=True)
    write(asked.output, size, asked.page)
    print(f"Wrote {asked.page}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.real", description=__doc__)
    parser.add_argument(
        "--facts", type=Path, nargs="+", required=True, help="MCEval8K's, MyriadLAMA's, ..."
    )
    parser.add_argument("--output", type=Path, default=Path("real-study"), help="a folder")
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--page-only", action="store_true", help="of the steps that are done")
    for name in ("smollm2", "antiberty"):
        parser.add_argument(f"--{name}", type=Path, help="its folder; by default neurgrad.real's")
    parser.add_argument("--prompts", type=int, default=100)
    parser.add_argument("--maps", type=int, default=10, help="prompts of which all neurons are")
    parser.add_argument("--lpi", type=int, default=10, help="prompts of LPI")
    parser.add_argument("--half", type=int, default=10, help="prompts in bfloat16")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
