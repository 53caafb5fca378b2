"""``negkernel join``: put together what the processes of a shared run have kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neurgrad.cli.errors import blame, refuse
from neurgrad.cli.reading.asked import Manners
from neurgrad.cli.reading.neurons import parse_neurons
from neurgrad.cli.reading.options import PlotOption
from neurgrad.cli.reading.outputs import check_output, check_plot_folder, run_folder

if TYPE_CHECKING:
    from negkernel import Gradients


@dataclass(frozen=True, kw_only=True)
class JoinOptions(Manners):
    """What ``join`` can be asked."""

    output: Annotated[
        Path, typer.Argument(metavar="OUTPUT", help="What --output named in the run's commands.")
    ]
    plot: PlotOption = None


def join(asked: JoinOptions) -> None:
    """Join the finished shards of a run into its output, without the model.

    For runs with --shard; processes that wait for each other write the output themselves.
    """
    with blame("OUTPUT", asked.output):
        check_output(asked.output)
    if asked.plot is not None:
        with blame("--plot", asked.plot):
            check_plot_folder(asked.plot)
    folder = run_folder(asked.output)
    from negkernel import Gradients, Sweep
    from negkernel.results import join as joining
    from negkernel.results.ledger import at_work
    from negkernel.results.manifest import Manifest
    from negkernel.results.shards import Shard
    from neurgrad.cli.showing.report import Showing, report

    with blame("OUTPUT", asked.output):
        manifest = Manifest.read(folder)
        kinds: dict[str, type[Any]] = {kind.kept_as: kind for kind in (Sweep, Gradients)}
        shards = [shard for shard in map(Shard.named, manifest.parts or []) if shard is not None]
        if manifest.kind not in kinds or not shards:
            refuse("OUTPUT", f"{str(folder)!r} holds {manifest.kind}, not the run of a command")
    with at_work(folder, manifest) as ledger:
        if missing := ledger.missing():
            names = [shard.name for shard in shards]
            numbers = ", ".join(str(names.index(name)) for name in missing[:5])
            refuse(
                "OUTPUT",
                f"{str(asked.output)!r}: {len(missing)} of {len(shards)} shards are not finished, "
                f"or were altered (number {numbers}{', ...' if len(missing) > 5 else ''}); give "
                "the command that computes them again",
            )
        kind = kinds[manifest.kind]
        results = (kind.load(ledger.path(shard.name)) for shard in shards)
        whole = joining.join(shards, results)
        choice = parse_neurons(manifest.asked["--neurons"])
        fixed = None
        if isinstance(whole, Gradients):
            fixed = choice.fixed(_Neurons(whole), manifest.asked["--seed"])
        showing = Showing(choice, fixed, asked.output, asked.plot, asked.json)
        report(showing, whole, complete=True)
        ledger.discard()


class _Neurons:
    """What gradients tell of a model's neurons, as an engine does."""

    def __init__(self, found: Gradients):
        import numpy as np

        from negkernel.results.frames import existing

        layer, index = existing(found.activation)
        self.neurons = np.stack([layer, index], axis=1)
        self.widths = np.bincount(layer, minlength=found.activation.shape[1])
