"""The target token: which single vocabulary entry a word means after a given prompt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from negkernel.arguments import check_choice
from negkernel.request.given import Prompt, check_target_id
from negkernel.request.masks import in_place
from negkernel.request.reader import Reader
from negkernel.request.text import check_unicode, encode_text, says


@dataclass(frozen=True)
class Target:
    """One target token; ``other_spelling`` is -1 where the other spelling is not one token."""

    token: int
    text: str
    other_spelling: int = -1


def encode_target(
    target: str | int,
    prompt: Prompt,
    reader: Reader,
    *,
    prefix: str = "auto",
    encoding: str = "joint",
    mask_position: int | None = None,
) -> Target:
    """Resolve a target to one token id.

    Parameters
    ----------
    target : str or int
        A word, or a token id taken as it is.
    prompt : Prompt
        What it follows, or stands in.
    prefix : str
        What stands between prompt and target. "auto": a space, unless the prompt ends in white
        space or the target is a special token. A byte-pair model asked for " Paris" as "Paris"
        looks ignorant.
    encoding : {"joint", "alone"}
        "joint" tokenizes prompt + prefix + target together and asks for exactly one token after
        the prompt's own. "alone" tokenizes the bare target, as the paper's public code does.
    mask_position : int or None
        Where a masked model is probed: "joint" then asks for the one token that replaces the mask
        in place, all others unchanged. "auto" inserts nothing there.

    Raises
    ------
    ValueError
        The target is not exactly one token of the model, or that token says something else (as
        where a tokenizer drops a character or does not know it); the message shows the tokens.
        Case, accents and compatibility forms may be folded (:func:`negkernel.request.text.says`).
    """
    tokenizer = reader.tokenizer
    if isinstance(target, int | np.integer) and not isinstance(target, bool):
        token = check_target_id(target, reader.outputs, "target")
        return Target(token, str(token) if tokenizer is None else str(tokenizer.decode([token])))
    word = _checked_text(target, tokenizer)
    if encoding == "alone":
        return Target(_measured(_alone(word, tokenizer), word, word, reader), word)
    if mask_position is not None:
        filling = word if prefix == "auto" else prefix + word
        text = prompt.text if prompt.special else None
        only, shown = in_place(filling, text, prompt.ids, mask_position, tokenizer)
        if only is None:
            raise ValueError(
                f"target {word!r} is not one token in the mask's place: {filling!r} becomes "
                f"{shown}. Choose a target that is a single vocabulary entry, or pass a token id."
            )
        return Target(_measured(only, filling, word, reader), word)
    return _following(word, prompt, reader, prefix)


def _following(word: str, prompt: Prompt, reader: Reader, prefix: str) -> Target:
    """The one token that ``word`` adds to a prompt, and that of its other spelling."""
    tokenizer, auto = reader.tokenizer, prefix == "auto"
    open_ended = word not in tokenizer.all_special_tokens and not prompt.text[-1:].isspace()
    spaced = auto and open_ended
    between = prefix if not auto else (" " if spaced else "")
    only, shown = _joint(prompt, between + word, tokenizer)
    if only is None:
        raise ValueError(
            f"target {word!r} is not one token after the prompt: {between + word!r} becomes "
            f"{shown}. Choose a target that is a single token, or pass a token id."
        )
    _measured(only, between + word, word, reader)
    other = _joint(prompt, word if spaced else " " + word, tokenizer)[0] if auto else None
    if other is None or other == only or other >= reader.outputs:
        return Target(only, word)
    return Target(only, word, other if says(other, word, tokenizer) else -1)


def _checked_text(target: Any, tokenizer: Any) -> str:
    if not isinstance(target, str):
        raise ValueError(
            f"target {target!r} is {type(target).__name__}; expected str or a token id"
        )
    if tokenizer is None:
        raise ValueError(
            f"target {target!r} is text but the engine has no tokenizer; give a token id or pass "
            "Engine(model, tokenizer)"
        )
    if not target.strip():
        raise ValueError(f"target {target!r} is empty; expected a word or a token id")
    check_unicode(target, "target")
    return target


def _measured(token: int, asked: str, target: str, reader: Reader) -> int:
    """Return ``token`` if the model has it and it says what was asked for."""
    reader.check_token(token, f"target {target!r}", reader.outputs)
    if not says(token, asked, reader.tokenizer):
        piece = reader.tokenizer.convert_ids_to_tokens(token)
        raise ValueError(
            f"target {target!r} would be measured as another text: it becomes {piece!r}, which "
            f"reads {reader.tokenizer.decode([token])!r}. Choose a target that the tokenizer "
            "knows, or pass a token id."
        )
    return token


def check_encoding(prefix: str, encoding: str) -> None:
    """Refuse options of :func:`encode_target` that it does not know, whatever the targets are."""
    check_choice("target_encoding", encoding, ("joint", "alone"))
    if not isinstance(prefix, str):
        raise ValueError(
            f"target_prefix is {type(prefix).__name__}; expected 'auto' or the text to put between "
            "prompt and target"
        )


def _joint(prompt: Prompt, continuation: str, tokenizer: Any) -> tuple[int | None, list[str]]:
    """Return the one token that ``continuation`` adds, or None, and the tokens it became."""
    # Verbatim ids need not survive decoding and encoding, so the text is encoded both ways.
    own = encode_text(prompt.text, tokenizer, special=prompt.special)
    joint = encode_text(prompt.text + continuation, tokenizer, special=prompt.special)
    kept = 0
    while kept < min(len(own), len(joint)) and own[kept] == joint[kept]:
        kept += 1
    shown = [str(t) for t in tokenizer.convert_ids_to_tokens(joint[kept:])]
    if kept == len(own) and len(joint) == len(own) + 1:
        return int(joint[-1]), shown
    return None, shown


def _alone(target: str, tokenizer: Any) -> int:
    ids = list(tokenizer(target, add_special_tokens=False)["input_ids"])
    if len(ids) != 1:
        raise ValueError(
            f"target {target!r} alone becomes {tokenizer.convert_ids_to_tokens(ids)}; expected one "
            "token. Use target_encoding='joint' or pass a token id."
        )
    return int(ids[0])
