"""The target: which vocabulary entries a word means after a given prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from negkernel.arguments import check_choice
from negkernel.request.given import Prompt, check_target_id
from negkernel.request.masks import in_place
from negkernel.request.reader import Reader
from negkernel.request.text import check_unicode, encode_text, says

TOKENS = ("one", "first", "all")


@dataclass(frozen=True)
class Target:
    """The tokens of a target; ``other_spelling`` is -1 where either spelling is not one token."""

    tokens: list[int]
    text: str
    other_spelling: int = -1


@dataclass(frozen=True)
class Spelling:
    """How targets become tokens, see :class:`negkernel.request.encoding.Encoding`.

    Attributes
    ----------
    prefix : str
        What stands between prompt and target. "auto": a space, unless the prompt ends in white
        space or the target is a special token. A byte-pair model asked for " Paris" as "Paris"
        looks ignorant.
    encoding : {"joint", "alone"}
        "joint" tokenizes prompt + prefix + target together and asks for the prompt's own tokens
        at the beginning. "alone" tokenizes the bare target, as the paper's public code does.
    tokens : {"one", "first", "all"}
        How many tokens a target may have, and which of them are read.

    Raises
    ------
    ValueError
        Options that it does not know.
    """

    prefix: str = "auto"
    encoding: str = "joint"
    tokens: str = "one"

    def __post_init__(self) -> None:
        check_choice("target_encoding", self.encoding, ("joint", "alone"))
        check_choice("target_tokens", self.tokens, TOKENS)
        if not isinstance(self.prefix, str):
            raise ValueError(
                f"target_prefix is {type(self.prefix).__name__}; expected 'auto' or the text to "
                "put between prompt and target"
            )

    def chosen(self, found: Sequence[int], said: str) -> list[int]:
        """What is read of the tokens ``found``.

        Raises
        ------
        ValueError
            None, or several and only one may be; ``said`` tells of what, and what they are.
        """
        if not found and self.tokens != "one":
            raise ValueError(f"{said}; expected at least one token")
        if self.tokens == "one" and len(found) != 1:
            raise ValueError(
                f"{said}. Choose a target that is a single token, pass a token id, or pass "
                "target_tokens='first' or 'all'"
            )
        return list(found[:1] if self.tokens == "first" else found)


def encode_target(
    target: str | int | Sequence[int],
    prompt: Prompt,
    reader: Reader,
    spelling: Spelling,
    masks: Sequence[int] | None = None,
) -> Target:
    """Resolve a target to its tokens.

    Parameters
    ----------
    target : str, int or list of int
        A word, or token ids taken as they are.
    prompt : Prompt
        What it follows, or stands in.
    masks : list of int, optional
        Where a masked model is probed: "joint" then asks for the tokens that replace the masks in
        place, all others unchanged. The prefix "auto" inserts nothing there.

    Raises
    ------
    ValueError
        The target is not as many tokens of the model as may be, changes the prompt's own tokens,
        or its tokens say something else (as where a tokenizer drops a character or does not know
        it); the message shows the tokens. Case, accents and compatibility forms may be folded
        (:func:`negkernel.request.text.says`).
    """
    if not isinstance(target, str):
        found = _given(target, reader, spelling)
    elif spelling.encoding == "alone":
        found = _alone(_checked_text(target, reader.tokenizer), reader, spelling)
    elif masks is not None:
        found = _in_masks(_checked_text(target, reader.tokenizer), prompt, masks, reader, spelling)
    else:
        found = _following(_checked_text(target, reader.tokenizer), prompt, reader, spelling)
    if masks is not None and spelling.tokens == "all" and len(found.tokens) != len(masks):
        raise ValueError(
            f"target {found.text!r} is {len(found.tokens)} tokens for {len(masks)} masks; expected "
            "a mask for each token (mask_index chooses one of several)"
        )
    return found


def _given(target: Any, reader: Reader, spelling: Spelling) -> Target:
    """A target that is one token id, or a list of them."""
    several = isinstance(target, list | tuple | np.ndarray) and np.ndim(target) == 1
    given = list(target) if several else [target]
    if not given:
        raise ValueError("target [] is empty; expected at least one token id")
    if not several and (isinstance(target, bool) or not isinstance(target, int | np.integer)):
        raise ValueError(
            f"target {target!r} is {type(target).__name__}; expected str or a token id"
        )
    ids = [check_target_id(token, reader.outputs, "target") for token in given]
    tokenizer = reader.tokenizer
    text = str(target) if tokenizer is None else str(tokenizer.decode(ids))
    return Target(spelling.chosen(ids, f"target {ids} is {len(ids)} token ids"), text)


def _in_masks(
    word: str, prompt: Prompt, masks: Sequence[int], reader: Reader, spelling: Spelling
) -> Target:
    """The tokens of ``word`` in the place of masks that stand side by side."""
    filling = word if spelling.prefix == "auto" else spelling.prefix + word
    text = prompt.text if prompt.special else None
    found, shown = in_place(filling, text, prompt.ids, masks, reader.tokenizer)
    if not found and len(masks) > 1:
        raise ValueError(
            f"target {word!r} does not fit in the place of {len(masks)} masks: {filling!r} becomes "
            f"{shown}; expected masks side by side and a target that leaves the text around them"
        )
    said = f"target {word!r} is not one token in the mask's place: {filling!r} becomes {shown}"
    tokens = spelling.chosen(found, said)
    _measured(found, filling, word, reader)
    return Target(tokens, word)


def _following(word: str, prompt: Prompt, reader: Reader, spelling: Spelling) -> Target:
    """The tokens that ``word`` adds to a prompt, and the one of its other spelling."""
    tokenizer, auto = reader.tokenizer, spelling.prefix == "auto"
    open_ended = word not in tokenizer.all_special_tokens and not prompt.text[-1:].isspace()
    spaced = auto and open_ended
    between = spelling.prefix if not auto else (" " if spaced else "")
    found, shown = _joint(prompt, between + word, tokenizer)
    said = f"target {word!r} is not one token after the prompt: {between + word!r} becomes {shown}"
    if not found and shown and spelling.tokens != "one":
        raise ValueError(
            f"target {word!r} is other tokens after the prompt than alone: with {between + word!r} "
            f"behind it the prompt ends in {shown}; expected one that leaves the prompt's own "
            "tokens, change target_prefix or the prompt's end"
        )
    tokens = spelling.chosen(found, said)
    _measured(found, between + word, word, reader)
    if not auto or len(found) != 1:
        return Target(tokens, word)
    others, _ = _joint(prompt, word if spaced else " " + word, tokenizer)
    if len(others) != 1 or others == found or others[0] >= reader.outputs:
        return Target(tokens, word)
    return Target(tokens, word, others[0] if says(others, word, tokenizer) else -1)


def _checked_text(target: str, tokenizer: Any) -> str:
    if tokenizer is None:
        raise ValueError(
            f"target {target!r} is text but the engine has no tokenizer; give a token id or pass "
            "Engine(model, tokenizer)"
        )
    if not target.strip():
        raise ValueError(f"target {target!r} is empty; expected a word or a token id")
    check_unicode(target, "target")
    return target


def _measured(tokens: list[int], asked: str, target: str, reader: Reader) -> None:
    """Refuse ``tokens`` that the model does not have, or that say something else than asked."""
    for token in tokens:
        reader.check_token(token, f"target {target!r}", reader.outputs)
    if not says(tokens, asked, reader.tokenizer):
        pieces = ", ".join(map(repr, reader.tokenizer.convert_ids_to_tokens(tokens)))
        raise ValueError(
            f"target {target!r} would be measured as another text: it becomes {pieces}, which "
            f"reads {reader.tokenizer.decode(tokens)!r}. Choose a target that the tokenizer "
            "knows, or pass a token id."
        )


def _joint(prompt: Prompt, continuation: str, tokenizer: Any) -> tuple[list[int], list[str]]:
    """Return the tokens that ``continuation`` adds, none if others change, and what it became."""
    # Verbatim ids need not survive decoding and encoding, so the text is encoded both ways.
    own = encode_text(prompt.text, tokenizer, special=prompt.special)
    joint = encode_text(prompt.text + continuation, tokenizer, special=prompt.special)
    kept = 0
    while kept < min(len(own), len(joint)) and own[kept] == joint[kept]:
        kept += 1
    shown = [str(t) for t in tokenizer.convert_ids_to_tokens(joint[kept:])]
    return ([int(token) for token in joint[kept:]] if kept == len(own) else []), shown


def _alone(word: str, reader: Reader, spelling: Spelling) -> Target:
    ids = [int(token) for token in reader.tokenizer(word, add_special_tokens=False)["input_ids"]]
    shown = reader.tokenizer.convert_ids_to_tokens(ids)
    said = f"target {word!r} alone becomes {shown} (target_encoding='joint' may find one token)"
    tokens = spelling.chosen(ids, said)
    _measured(ids, word, word, reader)
    return Target(tokens, word)
