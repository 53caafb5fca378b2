"""``negkernel grad``: the gradient of the target's probability in every neuron."""

from __future__ import annotations

from neurgrad.cli.reading.options import (
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
    ResumeOption,
    SeedOption,
    SiteOption,
    TargetOption,
    TargetPrefixOption,
)
from neurgrad.cli.running.command import run_command


def grad(
    model: ModelOption,
    prompt: PromptOption = None,
    target: TargetOption = None,
    prompts: PromptsOption = None,
    neurons: NeuronsOption = "top:16",
    site: SiteOption = "paper",
    position: PositionOption = None,
    chat: ChatOption = False,
    target_prefix: TargetPrefixOption = "auto",
    mask_index: MaskIndexOption = None,
    method: MethodOption = "auto",
    dtype: DTypeOption = "auto",
    device: DeviceOption = None,
    seed: SeedOption = 0,
    dry_run: DryRunOption = False,
    resume: ResumeOption = False,
    output: OutputOption = None,
    plot: PlotOption = None,
) -> int:
    """Estimate what every neuron does to the target, from gradients (NeurGrad)."""
    return run_command(**locals())
