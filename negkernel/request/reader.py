"""Describe what a model reads and tells: its tokenizer, vocabulary, positions, mask and padding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from negkernel.model.positions import prompt_limit


@dataclass(frozen=True)
class Reader:
    """What prompts and targets are read for.

    Attributes
    ----------
    tokenizer
        None where prompts and targets are token ids.
    inputs, outputs : int
        Tokens that a prompt may hold, and that have a logit.
    longest : int or None
        Most tokens of a prompt that the model's positions allow.
    mask_id : int or None
        Token that a masked model is probed at; None for a causal one.
    pad_id : int or None
        Padding of a model whose tokenizer names none.
    """

    tokenizer: Any
    inputs: int
    outputs: int
    longest: int | None = None
    mask_id: int | None = None
    pad_id: int | None = None

    @classmethod
    def of(cls, model: Any, tokenizer: Any, mask_id: int | None) -> Reader:
        """Describe ``model`` by its own tables, which may be longer or shorter than its config."""
        config = model.config.get_text_config()
        return cls(
            tokenizer,
            inputs=_rows(model.get_input_embeddings(), "num_embeddings", config.vocab_size),
            outputs=_rows(model.get_output_embeddings(), "out_features", config.vocab_size),
            longest=prompt_limit(model),
            mask_id=mask_id,
            pad_id=getattr(config, "pad_token_id", None),
        )

    def check_token(self, token: int, what: str, size: int) -> int:
        """Return a token of a text, if the model has it.

        Raises
        ------
        ValueError
            It was added to the tokenizer and not to the model.
        """
        if token < size:
            return token
        name = self.tokenizer.convert_ids_to_tokens(token)
        raise ValueError(
            f"{what}: token {name!r} (id {token}) is beyond the model's vocabulary of {size}; "
            "expected a token of the model, call model.resize_token_embeddings(len(tokenizer)) and "
            "train what was added"
        )


def _rows(table: Any, name: str, otherwise: int) -> int:
    return int(getattr(table, name, otherwise))
