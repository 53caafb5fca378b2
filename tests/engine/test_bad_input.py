"""Every refusal says what was wrong, what was expected and, where it helps, what to do."""

import numpy as np
import pytest
import torch
from small_models import build

from negkernel import Engine, Intervention

ONE = Intervention([[0, 1]], [1.0])
GOOD = {"prompts": [[1, 2, 3]], "targets": [4], "neurons": [[0, 1]], "shifts": [1.0]}
TWO_PROMPTS = {"prompts": [[1], [2]]}


@pytest.fixture(scope="module")
def engine():
    return Engine(build("llama"))


REQUESTS = {
    "one text without a tokenizer": ({"prompts": "hello"}, r"are text.* no tokenizer; pass Engine"),
    "a dictionary": ({"prompts": {"text": "a"}}, r"prompts is dict without input_ids; expected"),
    "bytes": ({"prompts": b"abc"}, r"prompts is bytes; expected a list"),
    "a number in an array": ({"prompts": np.array(3)}, r"prompts is ndarray; expected a list"),
    "no list of prompts": ({"prompts": None}, r"prompts is NoneType; expected a list"),
    "no list of targets": ({"targets": 4}, r"targets is int; expected a list"),
    "no prompts": ({"prompts": [], "targets": []}, r"no prompts.*at least one"),
    "prompt without tokens": ({"prompts": [[]]}, r"prompt 0 has no tokens; expected at least one"),
    "prompt of another kind": ({"prompts": [7]}, r"prompt 0 is int; expected str or a list"),
    "prompt of fractions": ({"prompts": [[1.5]]}, r"prompt 0: 1\.5 is not a token id"),
    "prompt beyond the vocabulary": (
        {"prompts": [[1, 101]]},
        r"prompt 0: token id 101 is outside the vocabulary; expected 0 <= id < 101",
    ),
    "prompt too long": (
        {"prompts": [[1] * 65]},
        r"prompt 0 has 65 tokens but the model allows 64; shorten",
    ),
    "text without a tokenizer": ({"prompts": ["hi"]}, r"no tokenizer; pass Engine\(model, token"),
    "target text without a tokenizer": ({"targets": ["a"]}, r"'a' is text.*no tokenizer; give a"),
    "target beyond the vocabulary": (
        {"targets": [101]},
        r"token id 101 is outside the vocabulary; expected 0 <= id < 101",
    ),
    "negative target": ({"targets": [-1]}, r"token id -1 is outside.*0 <= id < 101"),
    "target of another kind": ({"targets": [1.5]}, r"target 1\.5 is float; expected str or a"),
    "target is a truth value": ({"targets": [True]}, r"target True is bool; expected str or a"),
    "lengths disagree": (
        {**TWO_PROMPTS, "targets": [1]},
        r"2 prompts but 1 targets; expected one target .*per prompt",
    ),
    "K is zero": ({"targets": [[]]}, r"targets per prompt.*K >= 1"),
    "K differs": ({**TWO_PROMPTS, "targets": [[1], [1, 2]]}, r"found \[1, 2\].*the same number K"),
    "K for some": ({**TWO_PROMPTS, "targets": [1, [1, 2]]}, r"found \[1, 2\].*the same number K"),
    "unknown encoding": ({"target_encoding": "x"}, r"'x' is unknown; expected 'joint' or 'alone'"),
    "unknown method": ({"method": "fast"}, r"'fast' is unknown.*'auto', 'delta', 'suffix', 'full'"),
}
SHAPES = r"expected \[N, 2\] of \(layer, index\)"
SWEEPS = {
    "unknown site": ({"site": "down"}, r"site 'down'.*gated MLP; expected.*'up', 'gate', 'post'"),
    "site of another MLP": ({"site": "pre"}, r"site 'pre'.*'up', 'gate', 'post'"),
    "unknown axis": ({"axis": "x"}, r"'x' is unknown.*'magnitude', 'signed', 'scale', 'value'"),
    "unknown resolution": ({"resolution": "fine"}, r"resolution 'fine' is unknown; expected.*grid"),
    "no neurons": ({"neurons": []}, r"no neurons given; expected an array \[N, 2\]"),
    "neurons of two prompts": (
        {"neurons": [[[0, 1]]] * 2},
        rf"shape \[2, 1, 2\]; {SHAPES}.*\[1, N",
    ),
    "a pair, not a list": ({"neurons": [0, 1]}, rf"shape \[2\]; {SHAPES}"),
    "triples": ({"neurons": [[0, 1, 2]]}, rf"shape \[1, 3\]; {SHAPES}"),
    "ragged neurons": ({"neurons": [[0, 1], [2]]}, rf"not a rectangular array; {SHAPES}"),
    "neurons of fractions": ({"neurons": [[0.0, 1.0]]}, r"must be integers.*got dtype float64"),
    "no shifts": ({"shifts": []}, r"shifts has shape \[0\]; expected.*at least one number"),
    "one shift, not a list": ({"shifts": 2.0}, r"shifts has shape \[\]; expected a list"),
    "grid of shifts": ({"shifts": [[1.0]]}, r"shifts has shape \[1, 1\]; expected a list"),
    "NaN": ({"shifts": [1.0, np.nan]}, r"shifts contains NaN or infinity; expected finite"),
    "infinity": ({"shifts": [-np.inf]}, r"shifts contains NaN or infinity; expected finite"),
    "words": ({"shifts": ["a"]}, r"shifts must be numbers; got \['a'\]"),
    "truth values": ({"shifts": [True]}, r"shifts must be numbers; got \[True\]"),
    "complex numbers": ({"shifts": [1j]}, r"shifts must be numbers; got \[1j\]"),
    "shifts of nothing": ({"shifts": None}, r"shifts must be numbers; got None"),
}
RANGES = {
    "layer": ([[3, 0]], r"neuron \(3, 0\): layer 3 is out of range; expected 0 <= layer < 3"),
    "index": ([[0, 40]], r"neuron \(0, 40\): neuron index 40 .*expected 0 <= neuron index < 40"),
    "negative layer": ([[0, 1], [-1, 0]], r"neuron \(-1, 0\): layer -1 is out of range"),
    "negative index": ([[0, -1]], r"neuron \(0, -1\): neuron index -1 is out of range"),
}


def cases(table):
    return pytest.mark.parametrize(("changed", "message"), table.values(), ids=table.keys())


@cases(REQUESTS)
def test_requests(engine, changed, message):
    """Prompts, targets and options, which all three calls share."""
    arguments = {**GOOD, **changed}
    with pytest.raises(ValueError, match=message):
        engine.sweep(**arguments)
    del arguments["neurons"], arguments["shifts"]
    with pytest.raises(ValueError, match=message):
        engine.gradients(**arguments)
    with pytest.raises(ValueError, match=message):
        engine.intervene(**arguments, interventions=[ONE])


@cases(SWEEPS)
def test_sweeps(engine, changed, message):
    with pytest.raises(ValueError, match=message):
        engine.sweep(**{**GOOD, **changed})


@cases(RANGES)
def test_neurons_out_of_range(engine, changed, message):
    with pytest.raises(IndexError, match=message):
        engine.sweep(**{**GOOD, "neurons": changed})
    with pytest.raises(IndexError, match=message):
        engine.sweep(**{**GOOD, "neurons": [changed]})
    shift = Intervention(changed, [1.0] * len(changed))
    with pytest.raises(IndexError, match=message):
        engine.intervene(GOOD["prompts"], GOOD["targets"], [shift])


@pytest.mark.parametrize(("dtype", "largest"), [(torch.float32, 1.8e16), (torch.float64, 1.3e151)])
def test_shifts_are_refused_where_the_state_would_overflow_and_computed_below(dtype, largest):
    engine = Engine(build("llama", dtype))
    for site, axis in (("up", "value"), ("gate", "signed"), ("post", "scale")):
        how = {**GOOD, "shifts": [-largest, largest], "site": site, "axis": axis}
        for resolution in ("grid", "spectral"):
            assert np.isfinite(engine.sweep(**how, resolution=resolution).logprob_shift).all()
        refused = rf"shifts contains {2 * largest:g}, too large.*{dtype}; expected numbers up to"
        with pytest.raises(ValueError, match=refused.replace("+", r"\+")):
            engine.sweep(**{**how, "shifts": [1.0, 2 * largest]})
    with pytest.raises(ValueError, match=r"amounts contains -.*too large to compute with"):
        engine.intervene([[1]], [2], [Intervention([[0, 1]], [-2 * largest])])
    with pytest.raises(ValueError, match=r"radius contains .*too large to compute with"):
        engine.neg_map([[1]], [2], radius=2 * largest)


def test_numbers_are_called_what_the_caller_calls_them(engine):
    with pytest.raises(ValueError, match=r"scales has shape \[0\]; expected a list"):
        engine.path_gradients([[1]], [2], [])
    with pytest.raises(ValueError, match=r"radius is '2'; expected a positive number"):
        engine.neg_map([[1]], [2], radius="2")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"memory_budget": "1GB"}, r"memory_budget is '1GB'; expected a positive number of bytes"),
        ({"memory_budget": -1}, r"memory_budget is -1; expected a positive number of bytes"),
        ({"gemm_dtype": "bfloat16"}, r"gemm_dtype is 'bfloat16'; expected a floating torch.dtype"),
        ({"gemm_dtype": torch.int8}, r"gemm_dtype is torch.int8; expected a floating torch.dtype"),
    ],
)
def test_options_of_the_engine(options, message):
    with pytest.raises(ValueError, match=message):
        Engine(build("llama"), **options)


def test_arrays_and_tensors_serve_as_lists(engine):
    ids, targets, neurons = [[1, 2, 3], [4, 5, 6]], [[7, 8], [9, 7]], [[0, 1], [2, 5]]
    expected = engine.sweep(ids, targets, neurons, [-1.0, 2.0]).logprob_shift
    for array in (np.array, torch.tensor, lambda rows: [torch.tensor(row) for row in rows]):
        shifts = torch.tensor([-1.0, 2.0], dtype=torch.bfloat16, requires_grad=True)
        found = engine.sweep(array(ids), array(targets), np.array(neurons), shifts)
        np.testing.assert_array_equal(found.logprob_shift, expected)
    one_each = engine.sweep(torch.tensor(ids), torch.tensor([7, 9]), torch.tensor(neurons), [-1, 2])
    np.testing.assert_array_equal(one_each.logprob_shift, expected[:, 0])


def test_unknown_keywords_name_those_there_are(engine):
    one = ([[1, 2]], [3])
    options = r"the encoding: target_prefix, target_encoding, mask_index, attention_mask"
    for ask in (
        lambda **other: engine.sweep(*one, [[0, 1]], [1.0], **other),
        lambda **other: engine.neg_map(*one, **other),
        lambda **other: engine.intervene(*one, [ONE], **other),
        lambda **other: engine.gradients(*one, **other),
        lambda **other: engine.stream_gradients(*one, **other),
        lambda **other: engine.path_gradients(*one, [1.0], **other),
        lambda **other: engine.direct_effects(*one, **other),
        lambda **other: engine.rank(*one, **other),
        lambda **other: engine.plan(*one, calibrate=False, **other),
    ):
        with pytest.raises(TypeError, match=rf"unknown keyword 'prefix'; expected .*{options}"):
            ask(prefix="")


INTERVENTIONS = {
    "no neurons": (([], []), r"shape \[0\]; expected \[M, 2\]"),
    "a pair, not a list": (([0, 1], [1.0]), r"shape \[2\]; expected \[M, 2\]"),
    "neurons of fractions": (([[0.0, 1.0]], [1.0]), r"must be integers"),
    "sizes disagree": (([[0, 1], [0, 2]], [1.0]), r"2 neurons but amounts of shape \[1\]"),
    "listed twice": (([[0, 1], [1, 1], [0, 1]], [1.0] * 3), r"\(0, 1\) is listed twice.*add its"),
    "NaN": (([[0, 1]], [np.nan]), r"amounts contains NaN or infinity"),
    "words": (([[0, 1]], ["a"]), r"amounts must be numbers"),
    "unknown axis": (([[0, 1]], [1.0], "x"), r"axis 'x' is unknown; expected one of 'magnitude'"),
}


@cases(INTERVENTIONS)
def test_interventions(changed, message):
    with pytest.raises(ValueError, match=message):
        Intervention(*changed)


LISTS = {
    "one, not a list": (ONE, r"interventions is Intervention; expected a list"),
    "none": ([], r"no interventions given; expected at least one"),
    "none for a prompt": ([[], []], r"\[0\] interventions; expected the same number R >= 1"),
    "lists of other prompts": ([[ONE]] * 3, r"3 lists of interventions for 2 prompts"),
    "R differs": ([[ONE], [ONE, ONE]], r"\[1, 2\] interventions; expected the same number R"),
    "something else": ([{"a": 1}, {}], r"dict is not a negkernel\.Intervention; expected a list"),
    "unknown site": ([Intervention([[0, 1]], [1.0], site="x")], r"site 'x'.*'up', 'gate', 'post'"),
}


@cases(LISTS)
def test_lists_of_interventions(engine, changed, message):
    with pytest.raises(ValueError, match=message):
        engine.intervene([[1], [2]], [3, 4], changed)


def test_gradients_of_an_unknown_site(engine):
    with pytest.raises(ValueError, match=r"site 'down'.*'up', 'gate', 'post'"):
        engine.gradients([[1]], [2], site="down")


@pytest.mark.parametrize("model", ["gpt2", torch.nn.Linear(2, 2)])
def test_not_a_model(model):
    with pytest.raises(ValueError, match=r"is not a Hugging Face model; expected a transformers"):
        Engine(model)


def test_model_without_a_head():
    with pytest.raises(ValueError, match=r"LlamaModel is not a .*LM head; load it with AutoModel"):
        Engine(build("llama").model)


def test_unknown_task():
    with pytest.raises(ValueError, match=r"task 'seq2seq' is unknown; expected 'causal'"):
        Engine(build("llama"), task="seq2seq")


def test_longest_prompt_is_allowed(engine):
    sweep = engine.sweep(**{**GOOD, "prompts": [[1] * 64]})
    assert np.isfinite(sweep.logprob_shift).all()
    dynamic = Engine(build("llama-dynamic"))  # 12 positions, stretched four times
    assert np.isfinite(dynamic.sweep(**{**GOOD, "prompts": [[1] * 48]}).logprob_shift).all()
    with pytest.raises(ValueError, match=r"49 tokens but the model allows 48"):
        dynamic.sweep(**{**GOOD, "prompts": [[1] * 49]})
