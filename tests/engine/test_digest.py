"""A model's digest sees every byte, and nothing else."""

import copy

import pytest
import torch
from small_models import build
from transformers import AutoModelForCausalLM

from negkernel import Engine
from negkernel.model.digest import model_digest


@pytest.fixture(scope="module")
def model():
    return build("llama", torch.float32)


def flipped(model, name, seed):
    """A copy with one bit of one tensor flipped, behind the back of its version."""
    other = copy.deepcopy(model)
    tensor = dict([*other.named_parameters(), *other.named_buffers()])[name]
    content = tensor.data.view(-1).view(torch.uint8)
    place = int(torch.randint(len(content), (1,), generator=torch.manual_seed(seed)))
    content[place] ^= 1 << seed % 8
    return other


def test_one_flipped_bit_of_any_tensor_is_seen(model):
    names = [name for name, _ in [*model.named_parameters(), *model.named_buffers()]]
    assert any("inv_freq" in name for name in names)
    digests = {model_digest(flipped(model, name, seed)) for seed, name in enumerate(names)}
    assert len(digests | {model_digest(model)}) == len(names) + 1


EDITS = {
    "a column zeroed": lambda w: w[:, 5].zero_(),
    "two rows exchanged": lambda w: w.__setitem__([2, 9], w[[9, 2]].clone()),
    "all signs changed": lambda w: w.neg_(),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
@pytest.mark.parametrize("through", ["data", "no_grad"])
def test_a_model_that_was_edited_between_two_calls_is_another_one(model, edit, through):
    model = copy.deepcopy(model)
    before = model_digest(model)
    assert model_digest(model) == before
    weight = model.model.layers[1].mlp.down_proj.weight
    original = weight.detach().clone()
    with torch.no_grad():
        edit(weight.data if through == "data" else weight)
    assert model_digest(model) != before
    weight.data.copy_(original)
    assert model_digest(model) == before


def test_what_forwards_read_beside_the_weights_counts(model):
    digests = {model_digest(model)}
    for change in ("activation", "buffer", "config", "dtype"):
        other = copy.deepcopy(model)
        if change == "activation":
            other.model.layers[0].mlp.act_fn = torch.nn.GELU()
        elif change == "buffer":
            other.model.rotary_emb.inv_freq *= 2
        elif change == "config":
            other.config.rms_norm_eps *= 2
        else:
            other.to(torch.bfloat16)
        digests.add(model_digest(other))
    assert len(digests) == 5


def test_a_copy_a_checkpoint_and_an_offloaded_model_are_the_same_model(model, tmp_path):
    expected = model_digest(model)
    assert model_digest(copy.deepcopy(model)) == expected
    model.save_pretrained(tmp_path / "saved")
    assert model_digest(AutoModelForCausalLM.from_pretrained(tmp_path / "saved")) == expected
    places = {"model.embed_tokens": "cpu", "model.norm": "cpu", "model.rotary_emb": "cpu"}
    offloaded = AutoModelForCausalLM.from_pretrained(
        tmp_path / "saved",
        device_map={**places, "lm_head": "disk", "model.layers": "disk"},
        offload_folder=tmp_path / "offload",
    )
    assert model_digest(offloaded) == expected
    assert any(weight.device.type == "meta" for weight in offloaded.parameters())


def test_a_forward_changes_nothing(model):
    before = model_digest(model)
    Engine(model).sweep([[5, 9, 2]], [3], [[0, 1]], [1.0], method="full")
    assert model_digest(model) == before


def test_a_weight_without_values_is_refused(model):
    other = copy.deepcopy(model)
    other.model.layers[1].mlp.up_proj.to("meta")
    with pytest.raises(ValueError, match=r"layers\.1\.mlp\.up_proj\.weight has no values"):
        model_digest(other)


@pytest.mark.parametrize("kind", ["nf4", "int8"])
def test_scales_of_quantized_weights_count(kind, tmp_path):
    from transformers import BitsAndBytesConfig

    build("llama", torch.float32).save_pretrained(tmp_path)
    options = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}
    config = BitsAndBytesConfig(**(options if kind == "nf4" else {"load_in_8bit": True}))
    model = AutoModelForCausalLM.from_pretrained(tmp_path, quantization_config=config)
    before = model_digest(model)
    if kind == "int8":  # a forward on a CPU may round the scales of nf4: then it is another model
        with torch.no_grad():
            model(torch.tensor([[5, 9, 2]]))
    assert model_digest(model) == before
    weight = model.model.layers[0].mlp.up_proj
    scales = weight.weight.quant_state.absmax if kind == "nf4" else weight.state.SCB
    scales[0] *= 2
    assert model_digest(model) != before
