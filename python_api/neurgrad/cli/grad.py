"""``negkernel grad``: the gradient of the target's probability in every neuron."""

from __future__ import annotations

from neurgrad.cli.options import (
    ChatOption,
    DeviceOption,
    DryRunOption,
    DTypeOption,
    MethodOption,
    ModelOption,
    NeuronsOption,
    OutputOption,
    PlotOption,
    PromptOption,
    PromptsOption,
    ResumeOption,
    SeedOption,
    SiteOption,
    TargetOption,
    TargetPrefixOption,
)


def grad(
    model: ModelOption,
    prompt: PromptOption = None,
    target: TargetOption = None,
    prompts: PromptsOption = None,
    neurons: NeuronsOption = "top:16",
    site: SiteOption = "paper",
    chat: ChatOption = False,
    target_prefix: TargetPrefixOption = "auto",
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
    from neurgrad.cli.job import read_job

    job = read_job(
        model=model,
        prompt=prompt,
        target=target,
        prompts=prompts,
        neurons=neurons,
        site=site,
        chat=chat,
        target_prefix=target_prefix,
        method=method,
        dtype=dtype,
        device=device,
        seed=seed,
        dry_run=dry_run,
        resume=resume,
        output=output,
        plot=plot,
        shifts=None,
        axis="magnitude",
        resolution="grid",
        tol=1e-3,
    )
    from neurgrad.cli.command import (
        run_job,  # torch comes with it, after the options are found good
    )

    return run_job(job)
