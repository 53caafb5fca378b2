"""Take padding off token ids: by their attention mask, or refuse what looks like it."""

from __future__ import annotations

from typing import Any

import numpy as np

from negkernel.request.reader import Reader


def strip_padding(ids: list[int], mask: Any, prompt: int) -> list[int]:
    """Return the tokens that an attention mask leaves.

    Raises
    ------
    ValueError
        A mask of another length, of other values than 0 and 1, with a hole, or without a token.
    """
    kept = np.asarray(mask)
    if kept.shape != (len(ids),) or not np.isin(kept, (0, 1)).all():
        raise ValueError(
            f"prompt {prompt}: attention_mask has shape {list(kept.shape)} and values "
            f"{np.unique(kept).tolist()[:4]}; expected a 0 or 1 for each of {len(ids)} tokens"
        )
    (at,) = kept.nonzero()
    if len(at) == 0:
        raise ValueError(f"prompt {prompt}: attention_mask leaves no token; expected at least one")
    if at[-1] - at[0] + 1 != len(at):
        hole = int(np.diff(at).argmax() + at[0] + 1)
        raise ValueError(
            f"prompt {prompt}: attention_mask has a hole at position {hole}; expected padding at "
            "the ends alone"
        )
    return ids[at[0] : at[-1] + 1]


def check_unpadded(ids: list[int], reader: Reader, prompt: int) -> None:
    """Refuse ids without a mask that begin or end in padding.

    A token that is padding and beginning of text at once may stand at the beginning, and one that
    is also a masked model's end at the end. Where no tokenizer names the padding, a single token
    is taken for a word.

    Raises
    ------
    ValueError
        Tells how to pass a mask.
    """
    tokenizer = reader.tokenizer
    pad, certain = getattr(tokenizer, "pad_token_id", None), True
    if pad is None:
        pad, certain = reader.pad_id, False
    if pad is None or (not certain and set(ids) == {pad}):
        return
    starts = {getattr(tokenizer, f"{name}_token_id", None) for name in ("bos", "cls")}
    ends = {getattr(tokenizer, f"{name}_token_id", None) for name in ("eos", "sep")}
    begin = _run(ids, pad)
    behind = _run(ids[begin:][::-1], pad)
    for where, found, meant in (
        ("begins", begin, pad in starts),
        ("ends", behind, pad in ends and reader.mask_id is not None),
    ):
        if found > (meant or not certain):
            raise ValueError(
                f"prompt {prompt} {where} in {found} padding tokens (id {pad}) and has no "
                "attention mask; pass attention_mask= (1 where a token is meant), or take them out"
            )


def _run(ids: list[int], token: int) -> int:
    """How many times ``token`` stands at the beginning."""
    return next((i for i, one in enumerate(ids) if one != token), len(ids))
