"""The target token: which single vocabulary entry a word means after a given prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from negkernel.arguments import check_choice
from negkernel.masks import in_place


@dataclass(frozen=True)
class Target:
    """One target token; ``other_spelling`` is -1 where the other spelling is not one token."""

    token: int
    text: str
    other_spelling: int = -1


def encode_target(
    target: str | int,
    prompt: str | None,
    prompt_tokens: Sequence[int],
    tokenizer: Any,
    *,
    vocabulary: int,
    prefix: str = "auto",
    encoding: str = "joint",
    mask_position: int | None = None,
) -> Target:
    """Resolve a target to one token id.

    Parameters
    ----------
    target : str or int
        A word, or a token id taken as it is.
    prompt : str or None
        The prompt's text; None when it was given as token ids.
    prefix : str
        What stands between prompt and target. "auto": a space, unless the prompt ends in white
        space. A byte-pair model asked for " Paris" as "Paris" looks ignorant.
    encoding : {"joint", "alone"}
        "joint" tokenizes prompt + prefix + target together and asks for exactly one token after
        the prompt's own. "alone" tokenizes the bare target, as the paper's public code does.
    mask_position : int or None
        Where a masked model is probed: "joint" then asks for the one token that replaces the mask
        in place, all others unchanged. "auto" inserts nothing there.

    Raises
    ------
    ValueError
        The target is not exactly one token; the message shows the tokens.
    """
    if isinstance(target, int | np.integer) and not isinstance(target, bool):
        token = check_target_id(target, vocabulary, "target")
        return Target(token, str(token) if tokenizer is None else _token_text(tokenizer, token))
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
    if encoding == "alone":
        return Target(_alone(target, tokenizer), target)
    if mask_position is not None:
        filling = target if prefix == "auto" else prefix + target
        replaced, shown = in_place(filling, prompt, prompt_tokens, mask_position, tokenizer)
        if replaced is None:
            raise ValueError(
                f"target {target!r} is not one token in the mask's place: {filling!r} becomes "
                f"{shown}. Choose a target that is a single vocabulary entry, or pass a token id."
            )
        return Target(replaced, target)
    text = tokenizer.decode(list(prompt_tokens)) if prompt is None else prompt
    spaced = prefix == "auto" and not (text and text[-1].isspace())
    between = prefix if prefix != "auto" else (" " if spaced else "")
    only, shown = _joint(text, between + target, prompt, prompt_tokens, tokenizer)
    if only is None:
        raise ValueError(
            f"target {target!r} is not one token after the prompt: {between + target!r} becomes "
            f"{shown}. Choose a target that is a single token, or pass a token id."
        )
    other = None
    if prefix == "auto":
        swapped = target if spaced else " " + target
        other, _ = _joint(text, swapped, prompt, prompt_tokens, tokenizer)
    return Target(only, target, -1 if other is None or other == only else other)


def check_encoding(prefix: str, encoding: str) -> None:
    """Refuse options of :func:`encode_target` that it does not know, whatever the targets are."""
    check_choice("target_encoding", encoding, ("joint", "alone"))
    if not isinstance(prefix, str):
        raise ValueError(
            f"target_prefix is {type(prefix).__name__}; expected 'auto' or the text to put between "
            "prompt and target"
        )


def check_unicode(text: str, what: str) -> None:
    """Refuse text that is no Unicode: half of a surrogate pair, a byte that was not UTF-8.

    Tokenizers raise a TypeError there that does not say what is wrong.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{what} {text!r} is not valid Unicode at character {error.start}; expected text as it "
            "is read from a UTF-8 file"
        ) from None


def _joint(
    text: str, continuation: str, prompt: str | None, prompt_tokens: Sequence[int], tokenizer: Any
) -> tuple[int | None, list[str]]:
    """Return the one token that ``continuation`` adds, or None, and the tokens it became."""
    own = list(prompt_tokens)
    if prompt is None:
        # Verbatim ids need not survive decoding and encoding, so the text is encoded both ways.
        own = list(tokenizer(text, add_special_tokens=False)["input_ids"])
    joint = list(tokenizer(text + continuation, add_special_tokens=prompt is not None)["input_ids"])
    if prompt is not None and own and len(joint) > len(own) and joint[: len(own)] != own:
        joint = joint[1:] if joint[1 : len(own) + 1] == own else joint  # a BOS written twice
    while len(joint) > len(own) + 1 and joint[-1] == tokenizer.eos_token_id:
        joint = joint[:-1]
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


def _token_text(tokenizer: Any, token: int) -> str:
    return str(tokenizer.decode([token]))


def check_target_id(token: Any, vocabulary: int, what: str) -> int:
    """Return ``token`` as an int if it is a token id of the vocabulary.

    Raises
    ------
    ValueError
        Not an integer, or outside ``[0, vocabulary)``.
    """
    if isinstance(token, bool) or not isinstance(token, int | np.integer):
        raise ValueError(f"{what}: {token!r} is not a token id; expected an integer")
    if not 0 <= token < vocabulary:
        raise ValueError(
            f"{what}: token id {int(token)} is outside the vocabulary; expected 0 <= id < "
            f"{vocabulary}"
        )
    return int(token)
