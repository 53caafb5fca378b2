"""The options that commands share, with their help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

# Spelled out here because their homes import torch; a test holds them against those.
Site = Literal["paper", "up", "gate", "pre", "post"]
Axis = Literal["magnitude", "signed", "scale", "value"]
Method = Literal["auto", "delta", "generic", "suffix", "full"]
Resolution = Literal["grid", "spectral"]
DeviceMap = Literal["auto", "balanced", "balanced_low_0", "sequential", "disk"]
Quantize = Literal["nf4", "int8"]
TargetTokens = Literal["one", "first", "all"]
DType = Literal["auto", "float32", "bfloat16", "float16", "float64"]

_MODEL, _WHAT, _HOW, _OUT = "Model", "What to compute", "How", "Results"

ModelOption = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        metavar="PATH",
        help="A model folder, a Hub id, or 'demo' for the embedded one ('demo-masked').",
        rich_help_panel=_MODEL,
        show_default=False,
    ),
]
DTypeOption = Annotated[
    DType,
    typer.Option("--dtype", help="Of the weights; auto: the checkpoint's.", rich_help_panel=_MODEL),
]
DeviceOption = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="DEVICE",
        help="cpu, cuda, cuda:1, ...; by default a GPU if there is one.",
        rich_help_panel=_MODEL,
    ),
]
DeviceMapOption = Annotated[
    DeviceMap | None,
    typer.Option(
        "--device-map",
        help="Spread layers over devices; auto: what fits no GPU stays in host memory, and then in "
        "--offload; disk: all of it there.",
        rich_help_panel=_MODEL,
    ),
]
OffloadOption = Annotated[
    Path | None,
    typer.Option(
        "--offload",
        metavar="DIR",
        help="Weights that fit nowhere are kept here, and fetched layer by layer.",
        rich_help_panel=_MODEL,
    ),
]
QuantizeOption = Annotated[
    Quantize | None,
    typer.Option(
        "--quantize",
        help="Load weights in 4 or 8 bits, by bitsandbytes.",
        rich_help_panel=_MODEL,
    ),
]
PromptOption = Annotated[
    list[str] | None,
    typer.Option(
        "--prompt", "-p", metavar="TEXT", help="A prompt; repeatable.", rich_help_panel=_WHAT
    ),
]
TargetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--target",
        "-t",
        metavar="WORD",
        help="The word after it, one token; as many as prompts.",
        rich_help_panel=_WHAT,
    ),
]
PromptsOption = Annotated[
    Path | None,
    typer.Option(
        "--prompts",
        metavar="FILE",
        help="CSV, JSONL, Parquet or feather with columns 'prompt' and 'answer'; - is stdin.",
        rich_help_panel=_WHAT,
    ),
]
ChatOption = Annotated[
    bool,
    typer.Option(
        "--chat",
        help="Put each prompt into the tokenizer's chat template, as a user's message.",
        rich_help_panel=_WHAT,
    ),
]
TargetPrefixOption = Annotated[
    str,
    typer.Option(
        "--target-prefix",
        metavar="TEXT",
        help="Between prompt and target; auto: a space unless the prompt ends in one.",
        rich_help_panel=_WHAT,
    ),
]
TargetTokensOption = Annotated[
    TargetTokens,
    typer.Option(
        "--target-tokens",
        help="Of a target of several tokens: one refuses it, first reads its first, all its whole "
        "log-prob.",
        rich_help_panel=_WHAT,
    ),
]
MaskIndexOption = Annotated[
    int | None,
    typer.Option(
        "--mask-index",
        metavar="N",
        help="Of a masked model: which mask token is probed, from 0, where a prompt has several.",
        rich_help_panel=_WHAT,
        min=0,
    ),
]
NeuronsOption = Annotated[
    str,
    typer.Option(
        "--neurons",
        metavar="CHOICE",
        help="layer:index,... or random:N or top:N (by |NeurGrad|, for each prompt) or all.",
        rich_help_panel=_WHAT,
    ),
]
PAPER_SHIFTS = "-2:2:0.04"  # its range for linear neurons, which `reproduce` takes too
ShiftsOption = Annotated[
    str,
    typer.Option(
        "--shifts",
        metavar="START:STOP:STEP",
        help="Both ends included, zero left out; the default is the paper's.",
        rich_help_panel=_WHAT,
    ),
]
SiteOption = Annotated[
    Site,
    typer.Option(
        "--site",
        help="The tensor a neuron is; paper: up in a gated MLP, post elsewhere.",
        rich_help_panel=_WHAT,
    ),
]
PositionOption = Annotated[
    str | None,
    typer.Option(
        "--position",
        metavar="TOKEN",
        help="Where neurons are shifted: a token of the prompt from 0, from its end from -1, or "
        "all; the probed one by default.",
        rich_help_panel=_WHAT,
    ),
]
AxisOption = Annotated[
    Axis,
    typer.Option(
        "--axis",
        help="magnitude: away from zero; signed: added; scale: a factor; value: put in its place.",
        rich_help_panel=_WHAT,
    ),
]
SeedOption = Annotated[
    int, typer.Option("--seed", help="For random:N.", rich_help_panel=_WHAT, min=0, max=2**32 - 1)
]
MethodOption = Annotated[
    Method,
    typer.Option("--method", help="How a shifted forward is computed.", rich_help_panel=_HOW),
]
ResolutionOption = Annotated[
    Resolution,
    typer.Option(
        "--resolution",
        help="grid: every shift is computed; spectral: a few, and the curve between them.",
        rich_help_panel=_HOW,
    ),
]
TolOption = Annotated[
    float,
    typer.Option(
        "--tol",
        metavar="RATIO",
        help="Relative error of a spectral curve.",
        rich_help_panel=_HOW,
    ),
]
MemoryOption = Annotated[
    str | None,
    typer.Option(
        "--memory",
        metavar="SIZE",
        help="Most scratch beside the model, such as 512M or 4G; by default half of what is free, "
        "up to 1G (6G on a GPU).",
        rich_help_panel=_HOW,
    ),
]
DryRunOption = Annotated[
    bool,
    typer.Option("--dry-run", help="Print what it will cost and stop.", rich_help_panel=_HOW),
]
ResumeOption = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Go on with the interrupted run towards --output.",
        rich_help_panel=_HOW,
    ),
]
ShardOption = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="I/N",
        help="Compute every N-th part of the run towards --output, without waiting for others; "
        "'negkernel join OUTPUT' puts them together.",
        rich_help_panel=_HOW,
    ),
]
RayOption = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="ADDRESS",
        help="Compute on the Ray cluster there; local: on one of this machine.",
        rich_help_panel=_HOW,
    ),
]
OutputOption = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help=".csv or .parquet: a row a neuron; .safetensors: everything, for negkernel's load; "
        "- is CSV to stdout.",
        rich_help_panel=_OUT,
    ),
]
PlotOption = Annotated[
    Path | None,
    typer.Option(
        "--plot", metavar="DIR", help="Draw the results into this folder.", rich_help_panel=_OUT
    ),
]
