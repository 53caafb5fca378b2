"""Edits of a model's own calls: what it generates with neurons shifted, and what is left behind."""

import threading

import numpy as np
import pytest
import torch
from small_models import build
from transformers import (
    BertConfig,
    BertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    OPTConfig,
    OPTForCausalLM,
)

from negkernel import Engine, Intervention

# Four prompts of other lengths, padded on the left.
PROMPTS = [[5, 9, 3, 7, 11], [8, 2], [31, 4, 6], [12]]
LONGEST = max(map(len, PROMPTS))
IDS = torch.tensor([[0] * (LONGEST - len(one)) + one for one in PROMPTS])
MASK = torch.tensor([[0] * (LONGEST - len(one)) + [1] * len(one) for one in PROMPTS])
GREEDY = {"max_new_tokens": 6, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
SHIFT = Intervention([[0, 3], [0, 7], [2, 5]], [9.0, -8.0, 12.0], axis="signed")
POSITIONS = ("generated", "prompt", "all")


def llama():
    return build("llama", torch.float32)


def gpt2():
    sizes = {"vocab_size": 101, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 64}
    torch.manual_seed(1)
    return GPT2LMHeadModel(GPT2Config(**sizes, initializer_range=0.3)).eval()


def opt():
    torch.manual_seed(2)
    return OPTForCausalLM(
        OPTConfig(
            vocab_size=101,
            hidden_size=32,
            ffn_dim=40,
            num_hidden_layers=3,
            num_attention_heads=4,
            max_position_embeddings=64,
            word_embed_proj_dim=32,
            init_std=0.3,
        )
    ).eval()


# Where a person would put a hook: (module of a layer, whether the neurons are its input).
PLACES = {
    llama: lambda model, layer: (model.model.layers[layer].mlp.up_proj, False),
    gpt2: lambda model, layer: (model.transformer.h[layer].mlp.c_proj, True),
    opt: lambda model, layer: (model.model.decoder.layers[layer].fc2, True),
}


def one_by_one(model, place, prompt, position):
    """Greedy tokens of one prompt without padding or cache, by hand-written hooks."""
    tokens = list(prompt)
    for _ in range(GREEDY["max_new_tokens"]):
        S = len(tokens)
        first = len(prompt) - 1
        chosen = {
            "generated": range(first, S),
            "prompt": range(len(prompt)),
            "all": range(S),
        }[position]
        handles = []
        for (layer, index), amount in zip(SHIFT.neurons, SHIFT.amounts, strict=True):

            def moved(x, index=index, amount=amount, S=S, chosen=tuple(chosen)):
                x = x.clone().view(1, S, -1)
                x[:, chosen, index] += amount
                return x

            module, is_input = place(model, int(layer))
            if is_input:
                hook = lambda _, args, moved=moved: (moved(args[0]).view(args[0].shape),)  # noqa: E731
                handles.append(module.register_forward_pre_hook(hook))
            else:
                handles.append(module.register_forward_hook(lambda _, a, out, m=moved: m(out)))
        with torch.no_grad():
            logits = model(torch.tensor([tokens])).logits[0, -1]
        for handle in handles:
            handle.remove()
        tokens.append(int(logits.argmax()))
    return tokens[len(prompt) :]


def hooks_of(model):
    return [
        (len(m._forward_hooks), len(m._forward_pre_hooks), sorted(vars(m))) for m in model.modules()
    ]


@pytest.mark.parametrize("make", [llama, gpt2, opt])
@pytest.mark.parametrize("position", POSITIONS)
def test_generated_tokens_are_those_of_hand_written_hooks(make, position):
    model = make()
    engine = Engine(model)
    before, weights = hooks_of(model), [p.clone() for p in model.parameters()]
    expected = [one_by_one(model, PLACES[make], prompt, position) for prompt in PROMPTS]
    plain = model.generate(IDS, attention_mask=MASK, **GREEDY)
    found = {}
    for cache in (True, False):
        with engine.edited(SHIFT, position=position):
            found[cache] = model.generate(IDS, attention_mask=MASK, use_cache=cache, **GREEDY)
        assert found[cache][:, LONGEST:].tolist() == expected
    assert found[True].tolist() != plain.tolist(), "an edit without effect tests nothing"
    again = model.generate(IDS, attention_mask=MASK, **GREEDY)
    assert torch.equal(again, plain)
    assert hooks_of(model) == before
    assert all(torch.equal(a, b) for a, b in zip(weights, model.parameters(), strict=True))


def test_the_first_new_token_is_what_intervene_says():
    model = llama()
    engine = Engine(model)
    token = [[17], [40], [5], [99]]
    told = engine.intervene(PROMPTS, token, [SHIFT])
    expected = (told.base_logprob + told.logprob_shift[..., 0]).ravel()
    with torch.no_grad(), engine.edited(SHIFT):
        logits = model(input_ids=IDS, attention_mask=MASK).logits
    found = logits[:, -1].log_softmax(-1).gather(1, torch.tensor(token))
    np.testing.assert_allclose(found[:, 0], expected, atol=2e-4)


def test_calls_with_a_cache_are_of_generated_tokens():
    model = llama()
    engine = Engine(model)
    with torch.no_grad(), engine.edited(SHIFT, position="all"):
        whole = model(torch.tensor([PROMPTS[0]])).logits[0, -1]
        first = model(torch.tensor([PROMPTS[0][:3]]), use_cache=True)
        rest = model(torch.tensor([PROMPTS[0][3:]]), past_key_values=first.past_key_values)
    torch.testing.assert_close(rest.logits[0, -1], whole, atol=1e-4, rtol=1e-4)


def test_nothing_is_left_after_an_exception():
    model = llama().train()
    engine = Engine(model)
    before = hooks_of(model)
    with pytest.raises(ZeroDivisionError), engine.edited(SHIFT):
        1 / (model(torch.tensor([PROMPTS[0]])).logits.shape[0] - 1)
    with pytest.raises(IndexError), engine.edited(SHIFT):
        model(torch.tensor([[5, 10_000]]))
    assert model.training
    assert hooks_of(model) == before
    with engine.edited(SHIFT):
        pass


def test_one_edit_at_a_time():
    model = llama()
    engine, other = Engine(model), Engine(model)
    refused = []

    def enter():
        try:
            with other.edited(SHIFT):
                pass
        except ValueError as error:
            refused.append(str(error))

    with engine.edited(SHIFT):
        with pytest.raises(ValueError, match="being edited already"), engine.edited(SHIFT):
            pass
        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
        with pytest.raises(ValueError, match="outside"):
            engine.sweep([PROMPTS[0]], [3], [[0, 1]], [1.0])
    assert len(refused) == 1
    assert "in this thread or another" in refused[0]


def test_what_cannot_be_edited_is_refused():
    engine = Engine(llama())
    with pytest.raises(ValueError, match="position 'last' is unknown"):
        engine.edited(SHIFT, position="last")
    with pytest.raises(IndexError, match="99"):
        engine.edited(Intervention([[0, 99]], [1.0]))
    with pytest.raises(TypeError, match="expected one negkernel"):
        engine.edited([SHIFT])
    sizes = {"vocab_size": 50, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    masked = Engine(BertForMaskedLM(BertConfig(**sizes, num_attention_heads=2)).eval())
    with pytest.raises(NotImplementedError, match="BertForMaskedLM cannot generate"):
        masked.edited(Intervention([[0, 1]], [1.0]))
