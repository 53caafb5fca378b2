"""Name the options by which prompts and targets become tokens, once for every question."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypedDict


class Encoding(TypedDict, total=False):
    """How prompts and targets become tokens: keywords of every question of an engine.

    Attributes
    ----------
    target_prefix : str
        What stands between prompt and target. "auto" (default): a space, unless the prompt ends
        in white space. See :func:`negkernel.request.targets.encode_target`.
    target_encoding : {"joint", "alone"}
        "joint" (default) tokenizes prompt and target together, "alone" the bare target.
    mask_index : int, optional
        Which mask token a masked model is probed at, from 0, where a prompt has several.
    attention_mask : array-like [P, S], optional
        Of prompts that are token ids: 1 where a token is meant, 0 for padding, which is taken off.
    target_tokens : {"one", "first", "all"}
        What becomes of a target of several tokens. "one" (default) refuses it, "first" reads its
        first token, "all" the sum of the log-probs of all, each token given those before it: in a
        masked model, one in the place of each of as many masks. A target may then also be a list of
        token ids, within the list of a prompt's targets.
    """

    target_prefix: str
    target_encoding: str
    mask_index: int | None
    attention_mask: Any
    target_tokens: str


def check_names(given: Iterable[str]) -> None:
    """Refuse keywords that are no option of :class:`Encoding`.

    Raises
    ------
    TypeError
        The message names the options that there are.
    """
    known = Encoding.__annotations__
    if unknown := [name for name in given if name not in known]:
        raise TypeError(
            f"unknown keyword {unknown[0]!r}; expected one of the method's own, or of the "
            f"encoding: {', '.join(known)}"
        )
