"""Engines from GGUF files: a tiny Llama written as llama.cpp would, read as a dense model."""

import json

import gguf
import numpy as np
import pytest
import torch
from small_models import build
from small_tokenizers import byte_level

from negkernel import Engine

REQUEST = (["The capital of France is"], ["Paris"], [[0, 1], [2, 39]], [-1.0, 1.0])

NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


@pytest.fixture(scope="module")
def model():
    return build("llama", torch.float32, vocab_size=420)


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("gguf")
    _write(model, byte_level(), folder / "tiny.gguf")
    return folder


def _write(model, tokenizer, path):
    config, vocabulary = model.config, json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    tokens = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    writer.add_token_list(tokens + [f"unused{i}" for i in range(config.vocab_size - len(tokens))])
    writer.add_token_merges([" ".join(pair) for pair in vocabulary["merges"]])
    for name, weight in model.state_dict().items():
        writer.add_tensor(_name(name), _as_llama_cpp(name, weight, config).numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _name(name):
    stem, kind = name.rsplit(".", 1)
    if stem.startswith("model.layers."):
        layer, stem = stem.removeprefix("model.layers.").split(".", 1)
        return f"blk.{layer}.{NAMES[stem]}.{kind}"
    return f"{NAMES[stem]}.{kind}"


def _as_llama_cpp(name, weight, config):
    """Its rotary embedding pairs neighbours where transformers pairs halves."""
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for projection, n in heads.items():
        if projection in name:
            halves = weight.reshape(n, 2, -1, weight.shape[-1])
            return halves.transpose(1, 2).reshape(weight.shape).contiguous()
    return weight.contiguous()


def test_a_gguf_file_is_read_as_the_model_that_was_written(model, folder):
    engine = Engine.from_pretrained(folder, gguf_file="tiny.gguf", dtype=torch.float32)
    for name, weight in model.state_dict().items():
        torch.testing.assert_close(engine.model.state_dict()[name], weight, rtol=0, atol=0)
    expected = Engine(model, byte_level()).sweep(*REQUEST)
    plain = {"add_special_tokens": False}  # whether a text starts with BOS is the file's choice
    assert engine.tokenizer(REQUEST[0][0], **plain) == byte_level()(REQUEST[0][0], **plain)
    found = engine.sweep(expected.prompt_tokens, [int(expected.target_ids[0])], *REQUEST[2:])
    np.testing.assert_array_equal(found.logprob_shift, expected.logprob_shift)
    assert found.method == "delta"


def test_what_was_read_can_be_saved_and_loaded_without_the_file(folder, tmp_path):
    engine = Engine.from_pretrained(folder, gguf_file="tiny.gguf")
    engine.model.save_pretrained(tmp_path)
    engine.tokenizer.save_pretrained(tmp_path)
    again = Engine.from_pretrained(tmp_path)
    np.testing.assert_array_equal(
        again.sweep(*REQUEST).logprob_shift, engine.sweep(*REQUEST).logprob_shift
    )


def test_a_file_that_is_missing_or_no_gguf_is_one_clear_error(folder):
    (folder / "text.gguf").write_text("not a model")
    for name in ("absent.gguf", "text.gguf"):
        with pytest.raises(ValueError, match=f"cannot load .*{name}"):
            Engine.from_pretrained(folder, gguf_file=name)
