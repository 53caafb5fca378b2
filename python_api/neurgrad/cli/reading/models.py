"""``--model`` and what says where it goes, and ``--chat``: from options to an engine."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

from neurgrad.cli.errors import blame, refuse
from neurgrad.cli.reading.placement import check_placement, placement
from neurgrad.cli.showing.quiet import quiet_loading

if TYPE_CHECKING:
    import torch

    from negkernel import Engine
    from neurgrad.cli.reading.asked import ModelOptions

DEMO: dict[str, Literal["causal", "masked"]] = {
    "demo": "causal",
    "demo-causal": "causal",
    "demo-masked": "masked",
}


def load_engine(asked: ModelOptions) -> Engine:
    """Load the model that the options name.

    The memory budget is the one asked for, or measured now; it stays the same for the engine's
    life, since batches, and with them the last bits, depend on it.

    Raises
    ------
    typer.BadParameter
        No such model or device, or places that do not fit together.
    """
    from negkernel import Engine
    from negkernel.families.resident import device_of
    from negkernel.model.memory import default_memory_budget

    memory = check_placement(asked)
    chosen, path = _device(asked.device), find_model(asked.model)
    with blame("--model", asked.model), quiet_loading():
        where = placement(asked, chosen)
        loaded = Engine.from_pretrained(path, dtype=asked.dtype, **where)
    budget = default_memory_budget(device_of(loaded.model)) if memory is None else memory
    return Engine(loaded.model, loaded.tokenizer, task=loaded.task, memory_budget=budget)


def find_model(model: str) -> str:
    """Return the folder or the Hub id that ``--model`` names.

    Raises
    ------
    typer.BadParameter
        Nothing, or a folder that is not there.
    """
    from neurgrad import demo

    if not model.strip():
        refuse("--model", f"{model!r} is empty: expected a folder, a Hub id, or demo")
    # Not pathlib's: that raises for the home of nobody.
    if model.startswith(("/", ".", "~")) and not os.path.isdir(os.path.expanduser(model)):
        refuse("--model", f"{model!r}: there is no such folder")
    return str(demo.folder(DEMO[model])) if model in DEMO else model


def apply_chat(engine: Engine, prompts: list[str]) -> list[str]:
    """Put each prompt into the tokenizer's chat template and open the assistant's turn.

    The result is text; the engine adds no second BOS where the template wrote one.

    Raises
    ------
    typer.BadParameter
        The tokenizer has no chat template.
    """
    tokenizer = engine.tokenizer
    if not getattr(tokenizer, "chat_template", None):
        refuse("--chat", f"the tokenizer of {engine.model.config.name_or_path!r} has no template")
    return [
        str(
            tokenizer.apply_chat_template(
                [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True
            )
        )
        for prompt in prompts
    ]


def _device(name: str | None) -> torch.device:
    import torch

    from negkernel.model.loading import check_device

    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with blame("--device", name):
        wanted = torch.device(name)
        if wanted.type == "meta" or (wanted.type == "cpu" and wanted.index):
            raise ValueError("nothing can be computed there; expected cpu, cuda, cuda:1, ...")
        return check_device(name)
