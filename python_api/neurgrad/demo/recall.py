"""What a demo model knows: the probability it gives to each fact's answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch


def encode(tokenizer: Any, prompts: pd.DataFrame) -> tuple[torch.Tensor, ...]:
    """Tokenise prompts for a model of either kind, padded on the right.

    Returns
    -------
    input_ids, attention_mask
        int64 ``[P, S]``.
    probed
        int64 ``[P]``, where the answer is predicted: the mask's position if the tokenizer has a
        mask token, the prompt's last otherwise.
    answer
        int64 ``[P]``, the answer's token.

    Raises
    ------
    ValueError
        If an answer is not one token of the vocabulary.
    """
    encoding = tokenizer(prompts["prompt"].tolist(), padding=True, return_tensors="pt")
    input_ids, attention_mask = encoding["input_ids"], encoding["attention_mask"]
    if tokenizer.mask_token_id is None:
        probed = attention_mask.sum(1) - 1
    else:
        probed = (input_ids == tokenizer.mask_token_id).int().argmax(1)
    tokens = {}
    for word in prompts["answer"].unique():
        pieces = tokenizer.tokenize(word)
        if len(pieces) != 1:
            raise ValueError(f"the answer {word!r} is {pieces}: expected one token; reword it")
        tokens[word] = tokenizer.convert_tokens_to_ids(pieces[0])
    return input_ids, attention_mask, probed, torch.tensor(prompts["answer"].map(tokens).to_numpy())


@torch.no_grad()
def answer_probabilities(
    model: Any, tokenizer: Any, prompts: pd.DataFrame, batch_size: int = 256
) -> np.ndarray:
    """Return the probability of every prompt's answer, float32 ``[P]``.

    Parameters
    ----------
    model, tokenizer
        A pair as :func:`neurgrad.demo.load_model` returns it.
    prompts
        Rows of :func:`neurgrad.demo.prompts`.
    batch_size
        Prompts per forward.
    """
    input_ids, attention_mask, probed, answer = encode(tokenizer, prompts)
    probabilities = torch.empty(len(prompts))
    for rows in torch.arange(len(prompts)).split(batch_size):
        logits = model(input_ids=input_ids[rows], attention_mask=attention_mask[rows]).logits
        at_probe = logits[torch.arange(len(rows)), probed[rows]].float().softmax(-1)
        probabilities[rows] = at_probe.gather(1, answer[rows, None])[:, 0]
    return probabilities.numpy()


def recalled(probabilities: np.ndarray, prompts: pd.DataFrame) -> pd.Series:
    """Return the share of prompts whose answer has probability above 0.5, for each split."""
    return pd.Series(probabilities > 0.5, index=prompts["split"].to_numpy()).groupby(level=0).mean()
