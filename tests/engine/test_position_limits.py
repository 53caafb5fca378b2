"""The longest prompt is the one that the model itself takes; one token more is refused."""

import numpy as np
import pytest
import torch
import transformers as hf

from negkernel import Engine
from negkernel.model.positions import prompt_limit

BERT = {
    "vocab_size": 120,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 24,
}
OPT = {
    "vocab_size": 120,
    "hidden_size": 32,
    "ffn_dim": 48,
    "word_embed_proj_dim": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 24,
}
MASKED = {
    "bert": (hf.BertForMaskedLM, hf.BertConfig(**BERT), 24),
    "roberta": (hf.RobertaForMaskedLM, hf.RobertaConfig(**BERT, pad_token_id=1), 22),
    "roberta with a later padding": (
        hf.RobertaForMaskedLM,
        hf.RobertaConfig(**BERT, pad_token_id=3),
        20,
    ),
    "camembert": (hf.CamembertForMaskedLM, hf.CamembertConfig(**BERT, pad_token_id=1), 22),
    "data2vec": (hf.Data2VecTextForMaskedLM, hf.Data2VecTextConfig(**BERT, pad_token_id=1), 22),
    "xlm-roberta-xl": (
        hf.XLMRobertaXLForMaskedLM,
        hf.XLMRobertaXLConfig(**BERT, pad_token_id=1),
        22,
    ),
    "mpnet": (hf.MPNetForMaskedLM, hf.MPNetConfig(**BERT, pad_token_id=1), 22),
    "longformer": (
        hf.LongformerForMaskedLM,
        hf.LongformerConfig(**BERT, pad_token_id=1, attention_window=4),
        22,
    ),
}
CAUSAL = {
    "gpt2": (
        hf.GPT2LMHeadModel,
        hf.GPT2Config(vocab_size=120, n_embd=32, n_layer=2, n_head=4, n_positions=24),
        24,
    ),
    "opt": (hf.OPTForCausalLM, hf.OPTConfig(**OPT), 24),
}


class MaskTokenizer:
    mask_token_id, mask_token, bos_token_id, eos_token_id = 5, "[MASK]", None, None

    def decode(self, ids):
        return str(ids)


@pytest.mark.parametrize(
    ("kind", "config", "limit"), (MASKED | CAUSAL).values(), ids=MASKED | CAUSAL
)
def test_the_limit_is_the_models_own(kind, config, limit):
    model = kind(config).eval()
    ids = np.random.default_rng(0).integers(8, 118, size=limit + 1).tolist()
    with torch.no_grad():
        model(torch.tensor([ids[:limit]]))
        with pytest.raises((IndexError, RuntimeError)):
            model(torch.tensor([ids]))
    assert prompt_limit(model) == limit


@pytest.mark.parametrize("name", ["roberta", "data2vec", "mpnet", "gpt2", "opt"])
def test_one_token_more_is_refused(name):
    kind, config, limit = (MASKED | CAUSAL)[name]
    engine = Engine(kind(config).eval(), MaskTokenizer())
    ids = np.random.default_rng(0).integers(8, 118, size=limit + 1).tolist()
    ids[3] = 5
    assert np.isfinite(engine.sweep([ids[:limit]], [17], [[0, 1]], [1.0]).logprob_shift).all()
    with pytest.raises(ValueError, match=f"{limit + 1} tokens but the model allows {limit}; short"):
        engine.sweep([ids], [17], [[0, 1]], [1.0])
