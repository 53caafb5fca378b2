"""Masked prompts and targets as users write them, and what is said when they are wrong."""

import numpy as np
import pytest
from masked_models import MaskToken, build, engine
from masked_tokenizers import byte_level, word_piece
from transformers import (
    AutoModelForCausalLM,
    BertLMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    RobertaConfig,
    RobertaForMaskedLM,
)

from negkernel import Engine

NEURONS, SHIFTS = [[0, 1]], [1.0]


@pytest.fixture(scope="module")
def bert():
    return Engine(build("bert"), word_piece())


@pytest.fixture(scope="module")
def roberta():
    tokenizer = byte_level()
    config = RobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=40,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=20,
        pad_token_id=1,
        type_vocab_size=1,
    )
    return Engine(RobertaForMaskedLM(config).eval(), tokenizer)


def test_special_tokens_stand_once_at_both_ends(bert):
    plain = bert.sweep(["[MASK] is the capital of France."], ["Paris"], NEURONS, SHIFTS)
    written = bert.sweep(
        ["[CLS] [MASK] is the capital of France. [SEP]"], ["Paris"], NEURONS, SHIFTS
    )
    assert plain.prompt_tokens == [[2, 4, 6, 7, 8, 9, 10, 12, 3]]
    assert written.prompt_tokens == plain.prompt_tokens
    assert plain.target_ids.tolist() == [5]
    assert plain.task == "masked"


def test_the_end_token_of_roberta_stays(roberta):
    sweep = roberta.sweep(["The capital of Italy is <mask>."], ["Rome"], NEURONS, SHIFTS)
    assert sweep.prompt_tokens[0][-1] == roberta.tokenizer.eos_token_id


def test_a_word_takes_the_form_of_its_place(roberta):
    prompts = ["The capital of Italy is <mask>, not Paris.", "<mask> is the capital of France."]
    sweep = roberta.sweep(prompts, ["Rome", "Paris"], NEURONS, SHIFTS)
    assert roberta.tokenizer.convert_ids_to_tokens(sweep.target_ids.tolist()) == ["ĠRome", "Paris"]
    verbatim = roberta.sweep(sweep.prompt_tokens, ["Rome", "Paris"], NEURONS, SHIFTS)
    assert verbatim.target_ids.tolist() == sweep.target_ids.tolist()


def test_mask_index_chooses_the_probed_mask(bert):
    prompt = "[MASK] is the capital of [MASK] ."
    first, second = (
        bert.gradients([prompt], ["rome"], mask_index=index).activation for index in (0, 1)
    )
    assert np.abs(first - second).max() > 0.01
    with pytest.raises(ValueError, match=r"prompt 0 has 2 mask tokens .*mask_index=0 to 1"):
        bert.sweep([prompt], ["rome"], NEURONS, SHIFTS)
    with pytest.raises(IndexError, match="mask_index=2 is out of range"):
        bert.sweep([prompt], ["rome"], NEURONS, SHIFTS, mask_index=2)
    with pytest.raises(ValueError, match=r"mask_index is 0\.5; expected an integer"):
        bert.sweep([prompt], ["rome"], NEURONS, SHIFTS, mask_index=0.5)


def test_a_prompt_without_mask(bert, roberta):
    with pytest.raises(ValueError, match=r"no mask token; write '\[MASK\]'"):
        bert.sweep(["Paris is the capital of France."], ["paris"], NEURONS, SHIFTS)
    with pytest.raises(ValueError, match="no mask token; write '<mask>'"):
        roberta.gradients(["[MASK] is the capital of France."], ["Paris"])
    with pytest.raises(ValueError, match="prompt 1 has no mask token"):
        bert.sweep([[2, 4, 3], [2, 5, 3]], [5, 5], NEURONS, SHIFTS)


@pytest.mark.parametrize("word", ["playing", "london", "the capital"])
def test_a_target_that_is_not_one_entry(bert, word):
    with pytest.raises(ValueError, match="is not one token in the mask's place"):
        bert.sweep(["[MASK] is the capital of France."], [word], NEURONS, SHIFTS)


def test_a_prompt_too_long_for_positions_after_the_padding_index(roberta):
    longest = [0, 4, *[10] * 15, 2]  # of 20 positions, 0 and 1 are not for tokens
    roberta.sweep([longest], [7], NEURONS, SHIFTS)
    with pytest.raises(ValueError, match="has 19 tokens but the model allows 18"):
        roberta.sweep([[10, *longest]], [7], NEURONS, SHIFTS)


def test_sites_and_methods_that_do_not_exist(bert):
    with pytest.raises(ValueError, match="'up' is not a tensor"):
        bert.sweep([[4]], [7], NEURONS, SHIFTS, site="up")
    assert (bert.site, engine("modernbert-short-window").site) == ("post", "up")
    for call, arguments in (
        (bert.sweep, ([[4]], [7], NEURONS, SHIFTS)),
        (bert.gradients, ([[4]], [7])),
    ):
        with pytest.raises(ValueError, match=r"method 'suffix' .* expected 'auto', 'delta'"):
            call(*arguments, method="suffix")


def test_an_engine_without_a_mask_token():
    with pytest.raises(ValueError, match=r"probed at its mask token.*Engine\(model, tokenizer\)"):
        Engine(build("bert")).sweep([[4]], [7], NEURONS, SHIFTS)


def test_a_model_of_the_other_kind():
    llama = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=31,
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
        )
    )
    with pytest.raises(ValueError, match=r"is a causal language model but task='masked'"):
        Engine(llama, task="masked")
    with pytest.raises(ValueError, match=r"is a masked language model but task='causal'"):
        Engine(build("bert"), task="causal")
    with pytest.raises(ValueError, match="Load it with AutoModelForMaskedLM"):
        Engine(BertLMHeadModel(build("bert").config))
    with pytest.raises(ValueError, match="mask_index is for masked models"):
        Engine(llama).sweep([[4]], [7], NEURONS, SHIFTS, mask_index=0)


def test_from_pretrained_takes_the_task_from_the_architecture(tmp_path, bert):
    bert.model.save_pretrained(tmp_path)
    bert.tokenizer.save_pretrained(tmp_path)
    for task in (None, "masked"):
        loaded = Engine.from_pretrained(str(tmp_path), task=task)
        assert loaded.task == "masked"
        prompt = ["[MASK] is the capital of France."]
        np.testing.assert_allclose(
            loaded.sweep(prompt, ["paris"], NEURONS, SHIFTS).logprob_shift,
            bert.sweep(prompt, ["paris"], NEURONS, SHIFTS).logprob_shift,
            rtol=1e-12,
        )
    with pytest.raises(ValueError, match=r"BertForMaskedLM is a masked .* task='causal'"):
        Engine.from_pretrained(str(tmp_path), task="causal")
    with pytest.raises(ValueError, match="task 'seq2seq' is unknown"):
        Engine.from_pretrained(str(tmp_path), task="seq2seq")
    as_causal = AutoModelForCausalLM.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match="Load it with AutoModelForMaskedLM"):
        Engine(as_causal)


def test_unknown_architectures_run_through_generic(caplog, prompts, targets, shifts):
    e = engine("bert")
    expected = e.sweep(prompts, targets, NEURONS, shifts, method="full")
    e.model.config.model_type = "unheard-of"
    with caplog.at_level("INFO"):
        got = e.sweep(prompts, targets, NEURONS, shifts)
    assert got.method == "generic"
    assert "does not know the masked architecture 'unheard-of'" in caplog.text
    np.testing.assert_allclose(got.logprob_shift, expected.logprob_shift, rtol=0, atol=1e-10)
    with pytest.raises(NotImplementedError, match="Use method='full'"):
        e.sweep(prompts, targets, NEURONS, shifts, method="delta")


def test_the_model_comes_back_as_it_was(prompts, targets, shifts):
    model = build("modernbert-short-window").train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    e = Engine(model, MaskToken())
    for method in ("delta", "full"):
        e.sweep(prompts, targets, NEURONS, shifts, method=method)
        e.gradients(prompts, targets, method=method)
    assert model.training
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all((before[name] == tensor).all() for name, tensor in model.state_dict().items())
