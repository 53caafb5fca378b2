"""``negkernel demo``: the main job on an embedded model, and what it found."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from neurgrad.cli.running.study import Study
    from neurgrad.demo import Kind

NEXT = """\
Next:
  negkernel demo --write-prompts facts.csv
  negkernel sweep --model demo --prompts facts.csv --neurons top:16 --output neg.csv --plot figures
  negkernel info --model PATH_OR_ID        what a model of your own will run on"""


def demo(
    model: Annotated[
        Literal["both", "causal", "masked"], typer.Option(help="Which embedded model to run.")
    ] = "both",
    seed: Annotated[int, typer.Option(help="Chooses the facts and the neurons.")] = 0,
    write_prompts: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write 100 of the model's facts as a prompt file (CSV) and stop."
        ),
    ] = None,
) -> None:
    """Sweep and differentiate the embedded models, in seconds and without a network."""
    from neurgrad.cli.running.study import study, write_facts

    if write_prompts is not None:
        n = write_facts(write_prompts, "masked" if model == "masked" else "causal", seed)
        print(f"Wrote {n} prompts with their answers to {write_prompts}")
        return
    kinds: tuple[Kind, ...] = ("causal", "masked") if model == "both" else (model,)
    for kind in kinds:
        _print(study(kind, seed))
    print(NEXT)


def _print(found: Study) -> None:
    from rich.console import Console

    from neurgrad.cli.showing.tables import key_values, neuron_table

    console = Console(highlight=False)
    console.print(found.engine, style="dim", soft_wrap=True)
    console.print(key_values("\nEvery shift of every neuron", _sweep_lines(found)))
    console.print(key_values("\nGradients of all neurons at once", _gradient_lines(found)))
    strongest = neuron_table(f"\nStrongest neurons for  {found.fact}", found.top)
    console.print(strongest, soft_wrap=True)


def _sweep_lines(found: Study) -> dict[str, str]:
    return {
        "rows": f"{found.rows:,} = {found.facts} facts x {found.neurons // found.facts} neurons x "
        f"{found.rows // found.neurons} shifts within +-2",
        "speed": f"{found.rate:,.0f} rows/s; {found.ordinary_rate:,.0f} rows/s with one ordinary "
        f"forward a shift ({found.rate / found.ordinary_rate:.0f}x)",
        "agreement": f"{found.difference:.1e} nat, largest difference of log p between the two",
        "linear neurons": f"{found.linear:.1%} (|r| >= 0.95)",
        "polarity": f"{found.positive:.1%} positive, {found.negative:.1%} negative",
    }


def _gradient_lines(found: Study) -> dict[str, str]:
    return {
        "gradients": f"{found.n_gradients:,} in {found.gradient_seconds:.2f} s",
        "NeurGrad and NEG": f"r = {found.r_neurgrad:+.4f}",
        "CG and NEG": f"r = {found.r_cg:+.4f}: CG is the slope along the activation, NEG here "
        "away from zero",
    }
