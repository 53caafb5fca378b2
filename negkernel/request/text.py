"""Tokenize text with its special tokens once, and tell what a token says."""

from __future__ import annotations

import unicodedata
from typing import Any


def encode_text(text: str, tokenizer: Any, *, special: bool = True, end: bool = False) -> list[int]:
    """Token ids of ``text`` with leading special tokens once and, unless ``end``, none behind.

    A chat template or a user may have written the BOS token into the text already; a tokenizer
    that also appends an end token would move the probed position behind the prompt. Not verbose:
    text that is too long for the model is refused later, in one voice.

    Parameters
    ----------
    special : bool
        False takes the text as it is.
    end : bool
        Keep what the tokenizer appends, once: a masked model is used to it.
    """
    bare = list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
    if not special:
        return bare
    whole = list(tokenizer(text, add_special_tokens=True, verbose=False)["input_ids"])
    starts = range(len(whole) - len(bare) + 1)
    at = next((i for i in starts if whole[i : i + len(bare)] == bare), None)
    if at is None:  # the special tokens change how the text is cut
        return whole
    front, back = whole[:at], whole[at + len(bare) :] if end else []
    front = [] if bare[: len(front)] == front else front
    back = [] if back and bare[-len(back) :] == back else back
    return front + bare + back


def says(tokens: list[int], text: str, tokenizer: Any) -> bool:
    """Whether ``tokens`` decode to ``text``, white space aside.

    A tokenizer may fold case, accents and compatibility forms, as its documentation says; no
    character may be lost or become another one.
    """
    decoded = str(tokenizer.decode(tokens, clean_up_tokenization_spaces=False))
    if not folded(text):
        return decoded.strip() == text.strip()
    return folded(text) in (folded(decoded), folded(decoded.removeprefix("##")))


def folded(text: str) -> str:
    """``text`` without case, accents and white space."""
    letters = (c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return "".join("".join(letters).casefold().split())


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
