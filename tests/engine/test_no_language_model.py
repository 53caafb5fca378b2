"""What is no language model is refused by its tensors' names, not filled with random numbers."""

import json

import pytest
import transformers as hf
from small_tokenizers import byte_level

from negkernel import Engine

SIZES = {
    "vocab_size": 420,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
}
GPT2 = {"vocab_size": 420, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
LLAMA = hf.LlamaConfig(**SIZES)
TIED = hf.LlamaConfig(**SIZES, tie_word_embeddings=True)
GEMMA2 = hf.Gemma2Config(**SIZES, head_dim=8, num_key_value_heads=2)
BERT, ROBERTA = hf.BertConfig(**SIZES), hf.RobertaConfig(**SIZES)
ELECTRA = hf.ElectraConfig(**SIZES, embedding_size=32)
HEADLESS = "which has no LM head"
REFUSED = {
    "classifier": (hf.LlamaForSequenceClassification, LLAMA, {}, rf"{HEADLESS}.*lm_head\.weight"),
    "tied classifier": (hf.LlamaForSequenceClassification, TIED, {}, HEADLESS),
    "of no name": (
        hf.LlamaForSequenceClassification,
        TIED,
        {"architectures": None},
        r"hold 1 tensors that LlamaForCausalLM would ignore: score\.weight; expected",
    ),
    "of another name": (
        hf.LlamaForSequenceClassification,
        TIED,
        {"architectures": ["LlamaForCausalLM"]},
        r"score\.weight",
    ),
    "reward model": (
        hf.LlamaForSequenceClassification,
        TIED,
        {"architectures": ["LlamaForRewardModel"]},
        rf"LlamaForRewardModel, {HEADLESS}",
    ),
    "token classifier": (hf.LlamaForTokenClassification, TIED, {}, HEADLESS),
    "bare decoder": (hf.LlamaModel, TIED, {}, HEADLESS),
    "bare GPT-2": (hf.GPT2Model, hf.GPT2Config(**GPT2), {}, HEADLESS),
    "bare encoder": (hf.BertModel, BERT, {}, rf"{HEADLESS}.*lack 6 .*cls\.predictions\.bias"),
    "encoder of no name": (hf.BertModel, BERT, {"architectures": None}, r"cls\.predictions\.bias"),
    "masked classifier": (
        hf.RobertaForSequenceClassification,
        ROBERTA,
        {},
        rf"{HEADLESS}.*lm_head",
    ),
    "discriminator": (
        hf.ElectraForPreTraining,
        ELECTRA,
        {},
        r"lack 5 tensors of ElectraForMaskedLM.*random: generator_lm_head\.bias",
    ),
    "Llama as Qwen 2": (
        hf.LlamaForCausalLM,
        LLAMA,
        {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"]},
        r"lack 6 tensors of Qwen2ForCausalLM.*layers\.0\.self_attn\.k_proj\.bias",
    ),
    "Qwen 2 as Llama": (
        hf.Qwen2ForCausalLM,
        hf.Qwen2Config(**SIZES),
        {"model_type": "llama", "architectures": ["LlamaForCausalLM"]},
        r"hold 6 tensors that LlamaForCausalLM would ignore: .*k_proj\.bias",
    ),
    "Gemma 2 as Gemma": (
        hf.Gemma2ForCausalLM,
        GEMMA2,
        {"model_type": "gemma", "architectures": ["GemmaForCausalLM"]},
        r"would ignore: .*post_feedforward_layernorm",
    ),
}
TAKEN = {
    "Llama": (hf.LlamaForCausalLM, LLAMA),
    "tied Llama": (hf.LlamaForCausalLM, TIED),
    "tied Gemma 2": (hf.Gemma2ForCausalLM, GEMMA2),
    "GPT-2": (hf.GPT2LMHeadModel, hf.GPT2Config(**GPT2)),
    "GPT-2 with a second head": (hf.GPT2DoubleHeadsModel, hf.GPT2Config(**GPT2)),
    "BERT": (hf.BertForMaskedLM, BERT),
    "BERT with a pooler and a second head": (hf.BertForPreTraining, BERT),
    "RoBERTa": (hf.RobertaForMaskedLM, ROBERTA),
    "ELECTRA's generator": (hf.ElectraForMaskedLM, ELECTRA),
}


def save(kind, config, folder, **changed):
    kind(config).save_pretrained(folder)
    byte_level().save_pretrained(folder)
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))
    return folder


@pytest.mark.parametrize(("kind", "config", "changed", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(kind, config, changed, message, tmp_path):
    folder = save(kind, config, tmp_path / "model", **changed)
    with pytest.raises(ValueError, match=rf"^cannot load a model from .*{message}") as caught:
        Engine.from_pretrained(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("kind", "config"), TAKEN.values(), ids=TAKEN)
def test_what_is_taken(kind, config, tmp_path):
    saved = save(kind, config, tmp_path / "model")
    engine = Engine.from_pretrained(saved)
    assert engine.n_layers == 2


@pytest.mark.parametrize("kind", [hf.ElectraForPreTraining, hf.ElectraModel])
def test_a_live_model_without_a_head_is_refused(kind):
    with pytest.raises(ValueError, match=r"Electra.* is not a causal or masked language model"):
        Engine(kind(ELECTRA))
