"""``negkernel sweep``: every shift of every neuron, for every prompt."""

from __future__ import annotations

from neurgrad.cli.reading.options import (
    AxisOption,
    ChatOption,
    DeviceOption,
    DryRunOption,
    DTypeOption,
    MaskIndexOption,
    MethodOption,
    ModelOption,
    NeuronsOption,
    OutputOption,
    PlotOption,
    PositionOption,
    PromptOption,
    PromptsOption,
    ResolutionOption,
    ResumeOption,
    SeedOption,
    ShiftsOption,
    SiteOption,
    TargetOption,
    TargetPrefixOption,
    TolOption,
)
from neurgrad.cli.running.command import run_command


def sweep(
    model: ModelOption,
    prompt: PromptOption = None,
    target: TargetOption = None,
    prompts: PromptsOption = None,
    neurons: NeuronsOption = "top:16",
    shifts: ShiftsOption = "-10:10:0.2",
    site: SiteOption = "paper",
    position: PositionOption = None,
    axis: AxisOption = "magnitude",
    chat: ChatOption = False,
    target_prefix: TargetPrefixOption = "auto",
    mask_index: MaskIndexOption = None,
    method: MethodOption = "auto",
    resolution: ResolutionOption = "grid",
    tol: TolOption = 1e-3,
    dtype: DTypeOption = "auto",
    device: DeviceOption = None,
    seed: SeedOption = 0,
    dry_run: DryRunOption = False,
    resume: ResumeOption = False,
    output: OutputOption = None,
    plot: PlotOption = None,
) -> int:
    """Shift neurons by many amounts and read the target's probability each time."""
    return run_command(**locals())
