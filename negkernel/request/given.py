"""Read prompts in the forms that people hold them in: text, token ids, padded batches, chats."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from negkernel.request.masks import encode_masked_text
from negkernel.request.padding import check_unpadded, strip_padding
from negkernel.request.reader import Reader
from negkernel.request.text import check_unicode, encode_text

Chat = Sequence[Mapping[str, Any]]
Prompts = str | Mapping[str, Any] | Sequence[str] | Sequence[Sequence[int]] | Chat | Sequence[Chat]


@dataclass(frozen=True)
class Prompt:
    """A prompt as the model reads it.

    Attributes
    ----------
    ids : list of int
        Token ids, special tokens included, padding not.
    text : str
        As it was given; of a chat, what its template makes of it; of ids, what they decode to.
    special : bool
        The tokenizer put its special tokens around the text.
    """

    ids: list[int]
    text: str
    special: bool


def is_single(prompts: Any) -> bool:
    """Whether ``prompts`` is one text or one chat instead of a list of them."""
    return isinstance(prompts, str) or _is_chat(prompts)


def read_prompts(prompts: Any, attention_mask: Any, reader: Reader) -> list[Prompt]:
    """Return every prompt as token ids and as text.

    Parameters
    ----------
    prompts
        Texts; lists, arrays or tensors of token ids; what a tokenizer returns; lists of chat
        messages. Or one text or chat.
    attention_mask : array-like [P, S] or list of them, optional
        1 where a token is meant.

    Raises
    ------
    ValueError
        Something else, no prompt, an empty one, padding without a mask, or tokens that the model
        does not have; the message names the prompt.
    """
    if isinstance(prompts, Mapping):
        if attention_mask is None:
            attention_mask = prompts.get("attention_mask")
        _check_companions(prompts, "prompts")
        prompts = prompts["input_ids"]
    given = [prompts] if is_single(prompts) else listed(prompts, "prompts")
    if not given:
        raise ValueError("no prompts given; expected at least one")
    masks = [None] * len(given)
    if attention_mask is not None:
        masks = listed(attention_mask, "attention_mask")
    if len(masks) != len(given):
        raise ValueError(
            f"attention_mask has {len(masks)} rows for {len(given)} prompts; expected one for each"
        )
    return [_read(*pair, i, reader) for i, pair in enumerate(zip(given, masks, strict=True))]


def listed(values: Any, what: str) -> list[Any]:
    """Make a list of prompts, targets or masks, tensors in it as lists.

    Raises
    ------
    ValueError
        Something that is not one value after the other, such as a table.
    """
    table = hasattr(values, "columns") or hasattr(values, "column_names")
    # A set has no order; an array of no axes is one value, although it has an __iter__.
    scalar = isinstance(values, str | bytes | Mapping | Set) or getattr(values, "ndim", 1) == 0
    if table or scalar or not isinstance(values, Iterable):
        raise ValueError(
            f"{what} is {type(values).__name__}; expected a list, wrap a single one as ['...']"
            + (" and pass one column of a table" if table else "")
        )
    return [one.tolist() if isinstance(one, Tensor) else one for one in values]


def _read(prompt: Any, mask: Any, index: int, reader: Reader) -> Prompt:
    if isinstance(prompt, Mapping):
        _check_companions(prompt, f"prompt {index}")
        mask = prompt.get("attention_mask") if mask is None else mask
        prompt, mask = prompt["input_ids"], None if mask is None else _row(mask)
    if _is_chat(prompt):
        read = _read_chat(prompt, index, reader)
    elif isinstance(prompt, str):
        read = _read_text(prompt, index, reader)
    else:
        return _read_ids(_row(prompt), mask, index, reader)
    if mask is not None:
        raise ValueError(f"prompt {index} is text; expected attention_mask with token ids alone")
    for token in read.ids:
        reader.check_token(token, f"prompt {index}", reader.inputs)
    if not read.ids:
        raise ValueError(f"prompt {index}: the tokenizer leaves nothing of {read.text!r}")
    return read


def _read_text(text: str, index: int, reader: Reader) -> Prompt:
    if reader.tokenizer is None:
        raise ValueError(
            "prompts are text but the engine has no tokenizer; pass Engine(model, tokenizer) "
            "or give prompts as lists of token ids"
        )
    if not text.strip():
        raise ValueError(f"prompt {index} is empty; expected text")
    check_unicode(text, f"prompt {index}")
    if reader.mask_id is not None:
        return Prompt(encode_masked_text(text, reader.tokenizer), text, special=True)
    return Prompt(encode_text(text, reader.tokenizer), text, special=True)


def _read_chat(messages: Any, index: int, reader: Reader) -> Prompt:
    """Open the assistant's turn after the messages; go on with it where it is the last of them."""
    if not getattr(reader.tokenizer, "chat_template", None):
        raise ValueError(
            f"prompt {index} is a chat but the tokenizer has no chat template; expected text"
        )
    begun = messages[-1]["role"] == "assistant"
    try:
        text = reader.tokenizer.apply_chat_template(
            list(messages),
            tokenize=False,
            add_generation_prompt=not begun,
            continue_final_message=begun,
        )
    except Exception as error:  # a template raises what it likes
        raise ValueError(
            f"prompt {index}: the chat template refuses these messages: {error}"
        ) from error
    check_unicode(text, f"prompt {index}")
    ids = encode_text(text, reader.tokenizer, special=False)  # the template writes its own
    return Prompt(ids, text, special=False)


def _read_ids(tokens: Any, mask: Any, index: int, reader: Reader) -> Prompt:
    if not isinstance(tokens, list | tuple | np.ndarray):
        raise ValueError(
            f"prompt {index} is {type(tokens).__name__}; expected str or a list of token ids"
        )
    ids = [check_target_id(token, reader.inputs, f"prompt {index}") for token in tokens]
    if not ids:
        raise ValueError(f"prompt {index} has no tokens; expected at least one")
    if mask is None:
        check_unpadded(ids, reader, index)
    else:
        ids = strip_padding(ids, mask, index)
    tokenizer = reader.tokenizer
    text = str(ids) if tokenizer is None else str(tokenizer.decode(ids))
    return Prompt(ids, text, special=False)


def _is_chat(value: Any) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) > 0
        and all(isinstance(one, Mapping) and "role" in one for one in value)
    )


def _row(values: Any) -> Any:
    """One row of ids or of a mask; a tokenizer's tensors have an axis of batches around it."""
    values = values.tolist() if isinstance(values, Tensor | np.ndarray) else values
    one = isinstance(values, list) and len(values) == 1 and isinstance(values[0], list)
    return values[0] if one else values


def _check_companions(encoded: Mapping[str, Any], what: str) -> None:
    """Refuse what a tokenizer returned beside ids that the model would have to be given too."""
    if "input_ids" not in encoded:
        raise ValueError(
            f"{what} is {type(encoded).__name__} without input_ids; expected what a tokenizer "
            "returns, or a list of texts"
        )
    kinds = encoded.get("token_type_ids")
    if kinds is not None and any(np.any(_row(row)) for row in kinds):
        raise ValueError(
            f"{what} has token_type_ids other than 0 (pairs of texts); expected single texts"
        )
    if encoded.get("position_ids") is not None:
        raise ValueError(f"{what} has position_ids; expected ids that are counted from the first")


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
