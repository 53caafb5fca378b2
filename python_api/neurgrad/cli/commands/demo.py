"""``negkernel demo``: the main job on an embedded model, and what it found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from neurgrad.cli.errors import blame
from neurgrad.cli.reading.asked import Manners
from neurgrad.cli.reading.outputs import check_csv
from neurgrad.cli.showing.documents import print_json
from neurgrad.cli.showing.messages import step
from neurgrad.cli.showing.terminal import console, line, tell

if TYPE_CHECKING:
    from neurgrad.cli.running.study import Study
    from neurgrad.demo import Kind

NEXT = """\
Next:
  negkernel demo --write-prompts facts.csv
  negkernel sweep --model demo --prompts facts.csv --neurons top:16 --output neg.csv --plot figures
  negkernel info --model PATH_OR_ID        what a model of your own will run on"""


@dataclass(frozen=True, kw_only=True)
class DemoOptions(Manners):
    """What ``demo`` can be asked."""

    model: Annotated[
        Literal["both", "causal", "masked"],
        typer.Option("--model", "-m", help="Which embedded model to run."),
    ] = "both"
    seed: Annotated[
        int, typer.Option(help="Chooses the facts and the neurons.", min=0, max=2**32 - 1)
    ] = 0
    write_prompts: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write 100 of the model's facts as a prompt file (CSV) and stop."
        ),
    ] = None


def demo(asked: DemoOptions) -> None:
    """Sweep and differentiate the embedded models, in seconds and without a network."""
    if asked.write_prompts is not None:
        with blame("--write-prompts", asked.write_prompts):
            check_csv(asked.write_prompts)
    with step("loading"):
        from neurgrad.cli.running.study import study, write_facts

    if asked.write_prompts is not None:
        kind: Kind = "masked" if asked.model == "masked" else "causal"
        with blame("--write-prompts", asked.write_prompts):
            n = write_facts(asked.write_prompts, kind, asked.seed)
        tell(f"Wrote {n} prompts with their answers to {asked.write_prompts}")
        return
    kinds: tuple[Kind, ...] = ("causal", "masked") if asked.model == "both" else (asked.model,)
    found = {}
    for kind in kinds:
        with step(f"sweeping the {kind} model"):
            found[kind] = study(kind, asked.seed)
        if not asked.json:
            _print(found[kind])
    if not asked.json:
        line.end()
        print(NEXT)
        return
    print_json(
        {
            kind: {**vars(one), "top": one.top.to_dict(orient="records")}
            for kind, one in found.items()
        }
    )


def _print(found: Study) -> None:
    from neurgrad.cli.showing.tables import key_values, neuron_table

    out = console()
    out.print(found.engine, style="dim", soft_wrap=True)
    out.print(key_values("\nEvery shift of every neuron", _sweep_lines(found)))
    out.print(key_values("\nGradients of all neurons at once", _gradient_lines(found)))
    out.print(neuron_table(f"\nStrongest neurons for  {found.fact}", found.top), soft_wrap=True)


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
