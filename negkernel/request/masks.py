"""The mask token: where a masked model is probed, and which tokens a word means in its place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from negkernel.arguments import shown
from negkernel.request.text import encode_text


def mask_positions(
    ids: Sequence[int], mask_id: int, mask_index: int | None, prompt: int, *, several: bool = False
) -> list[int]:
    """Positions of the probed mask tokens.

    Parameters
    ----------
    ids : list of int
        The prompt's tokens.
    mask_id : int
        Id of the mask token.
    mask_index : int or None
        Which of several mask tokens, from 0; None asks for exactly one, or takes ``several``.
    prompt : int
        Number of the prompt, for messages.

    Raises
    ------
    ValueError
        No mask token, or several without a choice.
    IndexError
        Fewer mask tokens than ``mask_index`` asks for.
    """
    found = [position for position, token in enumerate(ids) if token == mask_id]
    if not found:
        raise ValueError(
            f"prompt {prompt} has no mask token (id {mask_id}); a masked model is probed there. "
            "Write the tokenizer's mask token where the answer belongs"
        )
    if mask_index is None:
        if len(found) > 1 and not several:
            raise ValueError(
                f"prompt {prompt} has {len(found)} mask tokens (positions {found}); pass "
                f"mask_index=0 to {len(found) - 1} to choose the probed one"
            )
        return found
    if isinstance(mask_index, bool) or not isinstance(mask_index, int | np.integer):
        raise ValueError(f"mask_index is {shown(mask_index)}; expected an integer, counted from 0")
    if not 0 <= mask_index < len(found):
        raise IndexError(
            f"mask_index={mask_index} is out of range: prompt {prompt} has {len(found)} mask "
            f"tokens; expected 0 <= mask_index < {len(found)}"
        )
    return [found[mask_index]]


def encode_masked_text(text: str, tokenizer: Any) -> list[int]:
    """Token ids of ``text`` with the tokenizer's special tokens at both ends, each once.

    Raises
    ------
    ValueError
        The tokenizer has no mask token, or the text does not contain it.
    """
    if tokenizer.mask_token_id is None:
        raise ValueError(
            f"{type(tokenizer).__name__} has no mask token; a masked model needs a tokenizer that "
            "defines one, or prompts as token ids"
        )
    ids = encode_text(text, tokenizer, end=True)
    if tokenizer.mask_token_id not in ids:
        raise ValueError(
            f"prompt {text!r} has no mask token; write {tokenizer.mask_token!r} where the answer "
            "belongs"
        )
    return ids


def in_place(
    target: str,
    prompt: str | None,
    prompt_tokens: Sequence[int],
    positions: Sequence[int],
    tokenizer: Any,
) -> tuple[list[int], list[str]]:
    """Return the tokens that ``target`` has in the masks' place, and what was seen there.

    The text is tokenized with the masks, one next to the other, and with the word in their place.
    If both agree before and behind, what is between are the tokens, however many; otherwise there
    are none. So the word gets the form that its place asks for, such as RoBERTa's word-start form
    behind a space.
    """
    ids, first = list(prompt_tokens), positions[0]
    which = ids[:first].count(ids[first])
    text = tokenizer.decode(ids) if prompt is None else prompt
    if prompt is None and _took_a_space(ids, first, tokenizer):
        target = " " + target
    pieces, behind = text.split(tokenizer.mask_token), which + len(positions)
    if len(pieces) <= behind or any(one.strip() for one in pieces[which + 1 : behind]):
        return [], []
    mask = tokenizer.mask_token
    before, after = mask.join(pieces[: which + 1]), mask.join(pieces[behind:])
    # Verbatim ids need not survive decoding and encoding, so the text is encoded both ways.
    special = prompt is not None
    masked = list(tokenizer(text, add_special_tokens=special)["input_ids"])
    filled = list(tokenizer(before + target + after, add_special_tokens=special)["input_ids"])
    masks = [i for i, token in enumerate(masked) if token == tokenizer.mask_token_id]
    start, tail = masks[which], len(masked) - masks[behind - 1] - 1
    stop = len(filled) - tail
    found = [int(token) for token in filled[start:stop]]
    shown = [str(t) for t in tokenizer.convert_ids_to_tokens(found)]
    same = masked[:start] == filled[:start] and masked[len(masked) - tail :] == filled[stop:]
    unknown = {tokenizer.mask_token_id, tokenizer.unk_token_id} & set(found)
    return ([] if unknown or not same or stop <= start else found), shown


def _took_a_space(ids: list[int], position: int, tokenizer: Any) -> bool:
    """Whether the mask token stands for a space too, as behind a word in RoBERTa's prompts."""
    mask = tokenizer.added_tokens_decoder.get(ids[position])
    behind_a_word = position > 0 and ids[position - 1] not in tokenizer.all_special_ids
    return behind_a_word and mask is not None and mask.lstrip
