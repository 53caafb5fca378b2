"""Models with weights in files or in host memory: fetched once a pass, the same bits."""

import shutil

import numpy as np
import pytest
import torch
from accelerate import cpu_offload, disk_offload
from lying_elsewhere import llama, offloaded
from transformers import (
    BertConfig,
    BertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    OPTConfig,
    OPTForCausalLM,
)

from negkernel import Engine
from negkernel.families import resident

PROMPTS = [[11, 45, 23, 67, 90, 31, 77], [9, 40, 33], [9, 40, 12, 5]]
TARGETS = [17, 29, 3]
NEURONS = [[0, 3], [1, 7], [2, 30]]
SHIFTS = [-2.0, 0.5, 3.0]
ASKED = PROMPTS, TARGETS, NEURONS, SHIFTS
SMALL = {
    "vocab_size": 97,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
}


def same(found, right):
    np.testing.assert_array_equal(found, right)


@pytest.mark.parametrize("ends", [False, True])
@pytest.mark.parametrize("tied", [False, True])
def test_every_answer_has_the_bits_of_the_resident_model(tied, ends, tmp_path):
    plain = Engine(llama(tie_word_embeddings=tied))
    model = offloaded(llama(tie_word_embeddings=tied), tmp_path, ends=ends)
    engine = Engine(model)
    sweep = engine.sweep(*ASKED)
    assert sweep.method == "delta"
    same(sweep.logprob_shift, plain.sweep(*ASKED).logprob_shift)
    same(
        engine.sweep(*ASKED, position="all").logprob_shift,
        plain.sweep(*ASKED, position="all").logprob_shift,
    )
    labels = [[17, 4], [29, 8], [3, 60]]
    same(engine.gradients(PROMPTS, labels).cg, plain.gradients(PROMPTS, labels).cg)
    same(
        engine.path_gradients(PROMPTS[:1], TARGETS[:1], [0.5, 1.0]).cg,
        plain.path_gradients(PROMPTS[:1], TARGETS[:1], [0.5, 1.0]).cg,
    )
    same(engine.direct_effects(PROMPTS, TARGETS), plain.direct_effects(PROMPTS, TARGETS))
    same(
        engine.neg_map(PROMPTS[:1], TARGETS[:1], progress=False).neg,
        plain.neg_map(PROMPTS[:1], TARGETS[:1], progress=False).neg,
    )
    where = [p.is_meta for name, p in model.named_parameters() if ends or "layers" in name]
    assert all(where)


def opt():
    return OPTForCausalLM(OPTConfig(**SMALL, ffn_dim=48, word_embed_proj_dim=16, init_std=0.2))


def gpt2():
    return GPT2LMHeadModel(GPT2Config(**SMALL))


def bert():
    return BertForMaskedLM(BertConfig(**SMALL, intermediate_size=48))


class Ids:
    """A tokenizer as far as a masked model asked about token ids needs one."""

    mask_token_id, mask_token, bos_token_id, eos_token_id = 5, "[MASK]", None, None

    def decode(self, ids):
        return str(ids)


@pytest.mark.parametrize("make", [opt, gpt2, bert])
@pytest.mark.parametrize("where", ["processor", "disk"])
def test_everything_offloaded(make, where, tmp_path):
    """Embeddings that are read as matrices, projections before the head, tied heads."""
    torch.manual_seed(1)
    plain = make().eval()
    torch.manual_seed(1)
    model = make().eval()
    if where == "processor":
        cpu_offload(model, torch.device("cpu"))
    else:
        disk_offload(model, str(tmp_path), torch.device("cpu"))
    asked = [[9, 5, 40, 33]], [17], [[0, 3], [1, 7]], SHIFTS
    tokenizer = Ids() if make is bert else None
    engine = Engine(model, tokenizer)
    found = engine.sweep(*asked)
    assert found.method == "delta"
    right = Engine(plain, tokenizer)
    same(found.logprob_shift, right.sweep(*asked).logprob_shift)
    same(engine.gradients(*asked[:2]).cg, right.gradients(*asked[:2]).cg)


def test_a_module_is_fetched_once_a_pass_for_any_number_of_rows(tmp_path, fetched):
    engine = Engine(offloaded(llama(), tmp_path))
    counts = {}
    for n_rows in (10, 10_000):
        shifts = np.linspace(-2, 2, n_rows // 5 + 1)
        neurons = [[layer, 3 + layer] for layer in (0, 0, 1, 2, 2)]
        neurons = [[layer, i] for i, (layer, _) in enumerate(neurons)]
        fetched.clear()
        engine.sweep(PROMPTS[:1], TARGETS[:1], neurons, shifts[shifts != 0], check=False)
        counts[n_rows] = dict(fetched)
    assert counts[10] == counts[10_000]
    by_name = {name: counts[10].get(m, 0) for name, m in engine.model.named_modules()}
    assert by_name["model.embed_tokens"] == 1  # rows never read it
    layers = {k: n for k, n in by_name.items() if n and "layers." in k}
    # The base visits each layer, rows those in which they are: in the first, only to enter.
    assert set(layers.values()) == {2}
    assert len(layers) == 3 * 9
    assert by_name["lm_head"] == by_name["model.norm"] == 2


def test_gradients_of_many_prompts_go_down_together(tmp_path, fetched):
    engine = Engine(offloaded(llama(), tmp_path), memory_budget=2**22)
    rng = np.random.default_rng(0)
    prompts = [rng.integers(0, 97, 5).tolist() for _ in range(12)]
    labels = rng.integers(0, 97, (12, 90)).tolist()  # more rows than one batch holds
    fetched.clear()
    engine.gradients(prompts, labels, check=False)
    groups = fetched[engine.model.model.embed_tokens]
    name = "model.layers.1.mlp.down_proj"
    assert fetched[engine.model.get_submodule(name)] == 2 * groups


def test_the_model_is_given_back_after_an_error(tmp_path, monkeypatch):
    model = offloaded(llama(), tmp_path)
    engine = Engine(model)
    right = engine.sweep(*ASKED).logprob_shift
    for stop in (KeyboardInterrupt, torch.OutOfMemoryError):

        def broken(*_, stop=stop, **__):
            raise stop("on purpose")

        with monkeypatch.context() as patch:
            patch.setattr("negkernel.delta.layer.mlp", broken)
            with pytest.raises(stop):
                engine.sweep(*ASKED)
        assert all(p.is_meta for p in model.parameters())
    same(engine.sweep(*ASKED).logprob_shift, right)


def test_a_folder_that_is_gone(tmp_path):
    engine = Engine(offloaded(llama(), tmp_path / "weights"))
    engine.sweep(*ASKED)
    shutil.rmtree(tmp_path / "weights")
    for ask in (lambda: engine.sweep(*ASKED), lambda: engine.gradients(PROMPTS, TARGETS)):
        with pytest.raises(ValueError, match=r"offloaded to '.*weights', which is gone; put it"):
            ask()


def test_a_layer_that_does_not_fit(tmp_path, monkeypatch):
    """Seen before it comes in, and while it does."""
    engine = Engine(offloaded(llama(), tmp_path), memory_budget=2**26)
    engine.sweep(*ASKED)
    with monkeypatch.context() as patch:
        patch.setattr("negkernel.delta.method.free_memory_of", lambda device: 2**10)
        with pytest.raises(MemoryError, match=r"model.layers.0.*MiB on cpu.*quantized"):
            engine.sweep(*ASKED)
    loader = resident.Offloaded

    def full(own):
        raise torch.OutOfMemoryError("tried to allocate 2 GiB")

    monkeypatch.setattr(loader, "bring", full)
    with pytest.raises(MemoryError, match=r"model.*MiB on cpu at once.*2 GiB.*would help"):
        engine.sweep(*ASKED)
