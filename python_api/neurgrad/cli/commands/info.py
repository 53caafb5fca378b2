"""``negkernel info``: what is installed here, what runs, and what would serve a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neurgrad.cli.errors import blame
from neurgrad.cli.reading.asked import Manners
from neurgrad.cli.showing.documents import print_json
from neurgrad.cli.showing.messages import step
from neurgrad.cli.showing.terminal import console

if TYPE_CHECKING:
    from rich.table import Table

# Weights of a model that is drawn at random in a moment, so that methods can be tried on it.
DRAWN = 10**8


@dataclass(frozen=True, kw_only=True)
class InfoOptions(Manners):
    """What ``info`` can be asked."""

    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            metavar="PATH",
            help="Say which method serves this model; its weights are not read.",
        ),
    ] = None


def info(asked: InfoOptions) -> None:
    """Show devices, versions, kernels, and which method serves a model."""
    what = "this machine" if asked.model is None else asked.model
    with step(f"looking at {what}"):
        document: dict[str, Any]
        if asked.model is not None:
            document = {"model": asked.model, **_model_lines(asked.model)}
        else:
            from negkernel import ops

            document = {
                "versions": _versions(),
                "devices": _devices(),
                "kernels": {op: dict(backends) for op, backends in ops.decisions().items()},
            }
    if asked.json:
        print_json(document)
        return
    from neurgrad.cli.showing.tables import key_values

    out = console()
    if asked.model is not None:
        del document["model"]
        out.print(key_values(f"Model {asked.model}", document))
        return
    out.print(key_values("Versions", document["versions"]))
    out.print(key_values("\nDevices", document["devices"]))
    out.print(_kernels(document["kernels"]))


def _versions() -> dict[str, str]:
    import platform
    from importlib.metadata import PackageNotFoundError, version

    lines = {"python": platform.python_version()}
    for name in ("negkernel", "torch", "transformers", "numpy", "triton", "bitsandbytes"):
        try:
            lines[name] = version(name)
        except PackageNotFoundError:
            lines[name] = "not installed"
    return lines


def _devices() -> dict[str, str]:
    import torch

    from negkernel.model.environment import device_name
    from negkernel.model.memory import default_memory_budget

    devices = [torch.device("cpu")]
    devices += [torch.device("cuda", index) for index in range(torch.cuda.device_count())]
    lines = {}
    for device in devices:
        scratch = default_memory_budget(device) / 1024**3
        threads = f"threads: {torch.get_num_threads()}, " if device.type == "cpu" else ""
        lines[str(device)] = f"{device_name(device)}, {threads}scratch: {scratch:.2g} GiB"
    if len(devices) == 1:
        lines["cuda"] = "torch finds no GPU"
    return lines


def _kernels(decisions: dict[str, dict[str, str | None]]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(title="\nKernels, first choice first", title_justify="left", box=box.SIMPLE_HEAD)
    for column in ("op", "backend", "here"):
        table.add_column(column, overflow="fold")
    for op, backends in decisions.items():
        for name, why_not in backends.items():
            table.add_row(op, name, "runs" if why_not is None else f"no: {why_not}")
            op = ""
    return table


def _model_lines(model: str) -> dict[str, str]:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM

    from negkernel import Engine
    from negkernel.model.task import checkpoint_task
    from neurgrad.cli.reading.models import find_model
    from neurgrad.cli.showing.quiet import quiet_loading

    auto = {"causal": AutoModelForCausalLM, "masked": AutoModelForMaskedLM}
    path = find_model(model)
    with blame("--model", model), quiet_loading():
        config = AutoConfig.from_pretrained(path)
        kind = auto[checkpoint_task(config, None)]
        with torch.device("meta"):
            hollow = kind.from_config(config)
        drawn = sum(weight.numel() for weight in hollow.parameters()) <= DRAWN
        # Weights that are never written take no memory: pages come with the first touch.
        engine = Engine(kind.from_config(config) if drawn else hollow.to_empty(device="cpu"))
    lines = {
        "architecture": f"{type(hollow).__name__} ({config.model_type}), {engine.task}",
        "neurons": f"{engine.n_layers} layers x {_sizes(engine.widths)}; the paper's neuron is the "
        f"site {engine.site!r}",
    }
    for method in ("delta", "suffix", "full"):
        lines[f"method {method}"] = _serves(engine, method, "once" if drawn else False)
    serving = [name for name in ("delta", "suffix", "full") if lines[f"method {name}"] == "yes"]
    lines["method auto"] = f"takes {serving[0]}" if serving else "none serves the model"
    return lines


def _sizes(widths: Any) -> str:
    """Neurons of a layer, each number once where layers differ."""
    return " or ".join(f"{width:,}" for width in dict.fromkeys(widths.tolist()))


def _serves(engine: Any, method: str, check: str | bool) -> str:
    try:
        engine.method_for(method, check=check)
    except (NotImplementedError, ValueError) as reason:
        return f"no: {reason}"
    return "yes"
