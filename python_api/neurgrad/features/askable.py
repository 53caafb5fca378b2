"""Whether a model can be asked some prompts: single-token labels, and room for the longest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from negkernel.request.prompts import encode_request
from negkernel.request.reader import Reader

if TYPE_CHECKING:
    from negkernel import Engine
    from neurgrad.mceval8k import Prompt

LETTERS = ("ABCDEFG", "abcdefg", "1234567")  # labels to offer where a task's own are split


def check_labels(engine: Engine, prompts: Sequence[Prompt]) -> None:
    """Refuse labels that are not one token each after a prompt of their language.

    Raises
    ------
    ValueError
        Names the labels, the tokens they become, and labels that this tokenizer keeps whole.
    """
    seen: dict[tuple[str, tuple[str, ...]], Prompt] = {}
    for prompt in prompts:
        seen.setdefault((prompt.language, prompt.labels), prompt)
    for prompt in seen.values():
        split = [label for label in prompt.labels if not _is_whole(engine, prompt, label)]
        if not split:
            continue
        became = " and ".join(
            f"{label!r} (which becomes {engine.tokenizer.tokenize(f' {label}')})" for label in split
        )
        K = len(prompt.labels)
        whole = (
            names[:K]
            for names in LETTERS
            if all(_is_whole(engine, prompt, name) for name in names[:K])
        )
        letters = next(whole, None)
        hint = (
            "this tokenizer keeps no row of letters or digits whole either, so use another model"
            if letters is None
            else f"ask for {', '.join(letters)} instead, with labels={tuple(letters)} of prompts "
            f"(--labels {','.join(letters)} on the command line) and a wording that says so"
        )
        raise ValueError(f"not a single token after a prompt: {became}; {hint}")


def check_length(engine: Engine, prompts: Sequence[Prompt]) -> None:
    """Refuse prompts that the model cannot take now, rather than when their turn comes.

    Raises
    ------
    ValueError
        Tells which prompt, its tokens and the model's limit.
    """
    longest = max(range(len(prompts)), key=lambda i: len(prompts[i].text.encode()))
    prompt = prompts[longest]
    try:  # nothing is computed before the first layer is asked for
        engine.stream_gradients([prompt.text], [list(prompt.labels)])
    except ValueError as error:
        raise ValueError(
            f"the longest of {len(prompts)} prompts, number {longest} (from 0): {error}"
        ) from error


def _is_whole(engine: Engine, prompt: Prompt, label: str) -> bool:
    reader = replace(Reader.of(engine.model, engine.tokenizer, None), longest=None)
    try:
        encode_request([prompt.text], [label], reader)
    except ValueError:
        return False
    return True
