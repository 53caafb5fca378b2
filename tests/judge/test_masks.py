"""Attention that is not what a causal mask says, and modules that pad, switch and mix prompts."""

import numpy as np
import pytest
import torch
from plain_forwards import (
    MASK,
    NEURONS,
    PROMPTS,
    SHIFTS,
    SIZES,
    TARGETS,
    Ids,
    assert_right,
    bert,
    llama,
    randomised,
    up,
)
from transformers import (
    BertForPreTraining,
    BigBirdConfig,
    BigBirdForMaskedLM,
    ElectraConfig,
    ElectraForMaskedLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    MptConfig,
    MptForCausalLM,
)

from negkernel import Engine

LONG = [int(x) for x in np.random.default_rng(1).integers(8, 96, 64)]


def masked(ids, at):
    return [*ids[:at], MASK, *ids[at + 1 :]]


def test_a_decoder_that_sees_both_ways():
    sizes = {**SIZES, "head_dim": 8, "num_key_value_heads": 2, "sliding_window": 16}
    model = randomised(
        Gemma3ForCausalLM(Gemma3TextConfig(**sizes, use_bidirectional_attention=True))
    )
    sweep = Engine(model).sweep(PROMPTS, TARGETS, NEURONS, SHIFTS)
    assert sweep.method in ("generic", "full")
    assert_right(sweep, model)
    with pytest.raises(NotImplementedError, match=r"method='suffix' does not serve"):
        Engine(model).sweep(PROMPTS, TARGETS, NEURONS, SHIFTS, method="suffix")


def test_causality_switched_off_in_the_config():
    model = llama()
    engine = Engine(model)
    engine.sweep(PROMPTS, TARGETS, NEURONS, SHIFTS)
    model.config.is_causal = False
    assert_right(engine.sweep(PROMPTS, TARGETS, NEURONS, SHIFTS), model)


@pytest.mark.parametrize("prompts", [[PROMPTS[1], LONG], [LONG, PROMPTS[1]]])
def test_a_window_that_the_first_prompt_does_not_reach(prompts):
    """Wired into the attention, where no config tells of it."""
    model = llama(attn_implementation="eager")
    for layer in model.model.layers:
        own = layer.self_attn.forward

        def forward(hidden_states, *args, attention_mask=None, own=own, **more):
            n, m = hidden_states.shape[1], attention_mask.shape[-1]
            far = torch.ones(n, m).tril(m - n - 6).bool()
            return own(
                hidden_states,
                *args,
                attention_mask=attention_mask.masked_fill(far, -1e30),
                **more,
            )

        layer.self_attn.forward = forward
    sweep = Engine(model).sweep(prompts, TARGETS, NEURONS, SHIFTS)
    assert_right(sweep, model)


def test_alibi():
    model = randomised(
        MptForCausalLM(
            MptConfig(vocab_size=97, d_model=32, n_heads=4, n_layers=3, expansion_ratio=2)
        )
    )
    sweep = Engine(model).sweep(PROMPTS, TARGETS, NEURONS, SHIFTS)
    assert_right(
        sweep, model, lambda m, layer: m.transformer.blocks[layer].ffn.down_proj, is_input=True
    )


@pytest.mark.parametrize("length", [64, 61])
@pytest.mark.parametrize("short", [0, 1, 2])
def test_bigbird_pads_and_switches(length, short):
    """Full attention for a short prompt, blocks for a long one, whatever came before."""

    def make():
        sizes = {**SIZES, "max_position_embeddings": 512, "block_size": 4, "num_random_blocks": 1}
        return randomised(BigBirdForMaskedLM(BigBirdConfig(**sizes, attention_type="block_sparse")))

    model, untouched = make(), make()
    prompts = [[9, 5, 11, 12]] * short + [masked(LONG[:length], 5)]
    sweep = Engine(model, Ids()).sweep(prompts, [17] * len(prompts), NEURONS, SHIFTS)
    assert model.bert.attention_type == "block_sparse"
    assert_right(
        sweep,
        untouched,
        lambda m, layer: m.bert.encoder.layer[layer].output.dense,
        is_input=True,
        positions=[None] * short + [5],
    )


@pytest.mark.parametrize("at", [2, 6])
def test_chunks_of_the_sequence(at):
    def make(chunk):
        config = ElectraConfig(**SIZES, embedding_size=32, chunk_size_feed_forward=chunk)
        return randomised(ElectraForMaskedLM(config))

    model = make(4)
    prompt = masked(LONG[:8], at)
    sweep = Engine(model, Ids()).sweep([prompt], [17], NEURONS, SHIFTS)
    assert_right(
        sweep,
        make(0),
        lambda m, layer: m.electra.encoder.layer[layer].output.dense,
        is_input=True,
        positions=[at],
    )
    assert model.electra.encoder.layer[0].chunk_size_feed_forward == 4


def test_a_pretraining_head():
    model = randomised(BertForPreTraining(bert().config))
    engine = Engine(model, Ids())
    prompts = [masked(LONG[:7], 3), masked(LONG[7:12], 1)]
    delta, full = (
        engine.sweep(prompts, TARGETS, NEURONS, SHIFTS, method=method).logprob_shift
        for method in ("delta", "full")
    )
    np.testing.assert_allclose(delta, full, rtol=0, atol=1e-4 * (1 + np.abs(full).max()))
    gradients = [engine.gradients(prompts, TARGETS, method=m).cg for m in ("delta", "full")]
    np.testing.assert_allclose(*gradients, rtol=0, atol=1e-4 * np.abs(gradients[1]).max())


class AcrossRows(torch.nn.Module):
    """A projection whose output depends on what else is in the batch."""

    def __init__(self, linear):
        super().__init__()
        self.linear = linear
        self.in_features, self.out_features = linear.in_features, linear.out_features

    def forward(self, x):
        return self.linear(x - x.mean(0, keepdim=True) * (len(x) > 1))


def test_rows_that_disturb_each_other():
    model = llama()
    model.model.layers[1].mlp.down_proj = AcrossRows(model.model.layers[1].mlp.down_proj)
    sweep = Engine(model).sweep(PROMPTS, TARGETS, NEURONS, SHIFTS)
    assert_right(sweep, model)


def test_activations_quantized_over_the_batch():
    """Dynamic int8 of torch takes one scale for all tokens of all rows at once."""
    model = torch.ao.quantization.quantize_dynamic(llama(), {torch.nn.Linear}, torch.qint8)
    engine = Engine(model)
    sweep = engine.sweep(PROMPTS, TARGETS, NEURONS, SHIFTS)
    assert sweep.method in ("generic", "full")
    assert_right(sweep, model, up)
