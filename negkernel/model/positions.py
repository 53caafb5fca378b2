"""Tell the longest prompt that a model's positions allow."""

from __future__ import annotations

from typing import Any

from torch import nn


def prompt_limit(model: Any) -> int | None:
    """Longest prompt in tokens, None if there is no limit.

    Learned positions are counted in the model itself: in some families (RoBERTa, MPNet, ...) they
    start behind a padding index, in others (OPT) behind an offset, so that the table has more rows
    than there are positions.
    """
    config = model.config.get_text_config()
    limit = getattr(config, "max_position_embeddings", None)
    rope = getattr(config, "rope_parameters", None) or {}
    if limit is not None and limit < 0:  # XLNet's way to say that there is none
        limit = None
    if limit is not None and rope.get("rope_type") == "dynamic":
        limit = int(limit * rope.get("factor", 1.0))
    learned = [_positions(table) for table in _position_tables(model)]
    return min([n for n in (limit, *learned) if n is not None], default=None)


def _position_tables(model: Any) -> list[nn.Module]:
    """Tables of absolute positions: modules beside the table of tokens, named after positions."""
    tokens = model.get_input_embeddings()
    beside = [owner for owner in model.modules() if tokens in owner.children()]
    return [
        module
        for owner in beside
        for name, module in owner.named_children()
        if ("position" in name or name == "wpe") and "relative" not in name
    ]


def _positions(table: nn.Module) -> int | None:
    """Prompt tokens that a table has rows for; None where positions are computed."""
    rows = getattr(getattr(table, "weight", None), "shape", (None,))[0]
    if rows is None:
        return None
    padding = getattr(table, "padding_idx", None)
    behind = 0 if padding is None else padding + 1
    return int(rows - max(behind, getattr(table, "offset", 0)))
