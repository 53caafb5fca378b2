"""Results as objects, as tables and as files that are either whole and right or refused."""

import errno
import json
import logging
import os
from dataclasses import MISSING, fields

import numpy as np
import pandas as pd
import pytest
import safetensors.numpy
from sklearn.linear_model import LinearRegression

from negkernel.results import Gradients, Interventions, Sweep, storage

P, K, N, J, L, I, R = 2, 3, 4, 6, 2, 5, 3
SHIFTS = np.array([-2.0, -1.0, -0.5, 0.0, 1.0, 1.5])
MOVED = SHIFTS != 0


def asked(targets_per_prompt):
    """Prompts and targets; one target for each prompt, or a list where the number is not None."""
    if targets_per_prompt is None:
        targets, leading = ["Paris", "東京"], (P,)
    else:
        labels = [f"label {k}" for k in range(targets_per_prompt)]
        targets, leading = [labels, labels[::-1]], (P, targets_per_prompt)
    common = {
        "prompts": ["La capitale de la France est", '日本の首都は 🗼\n\t"quoted" \\ \u0000'],
        "targets": targets,
        "prompt_tokens": [[1, 2, 3], [1, 9]],
        "target_ids": np.arange(np.prod(leading)).reshape(leading),
        "model": "tiny",
        "dtype": "float32",
        "task": "causal",
    }
    return common, leading


def arrays(seed, dtype):
    rng = np.random.default_rng(seed)
    return lambda *shape: rng.normal(size=shape).astype(dtype)


def a_sweep(targets_per_prompt=None, neurons_per_prompt=False, dtype=np.float32, **changes):
    common, leading = asked(targets_per_prompt)
    draw = arrays(0, dtype)
    shape = (P, N, 2) if neurons_per_prompt else (N, 2)
    fields = common | {
        "neurons": np.arange(np.prod(shape)).reshape(shape),
        "shifts": SHIFTS,
        "axis": "magnitude",
        "site": "up",
        "method": "delta",
        "resolution": "grid",
        "base_logprob": -np.abs(draw(*leading)),
        "logprob_shift": -np.abs(draw(*leading, N, J)),
        "activation": draw(P, N),
        "error": np.abs(draw(*leading, N)),
        "rows": P * N * J,
    }
    return Sweep(**(fields | changes))


def some_gradients(targets_per_prompt=None, dtype=np.float32, **changes):
    common, leading = asked(targets_per_prompt)
    draw = arrays(1, dtype)
    fields = common | {
        "prob": np.abs(draw(*leading)),
        "cg": draw(*leading, L, I),
        "activation": draw(P, L, I),
        "site": "up",
    }
    return Gradients(**(fields | changes))


def some_interventions(targets_per_prompt=None, dtype=np.float32, **changes):
    common, leading = asked(targets_per_prompt)
    draw = arrays(2, dtype)
    fields = common | {
        "base_logprob": -np.abs(draw(*leading)),
        "logprob_shift": -np.abs(draw(*leading, R)),
        "method": "suffix",
    }
    return Interventions(**(fields | changes))


MAKERS = [a_sweep, some_gradients, some_interventions]
one_or_several_targets = pytest.mark.parametrize("targets_per_prompt", [None, 1, K])
both_precisions = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def assert_same(found, expected):
    assert type(found) is type(expected)
    for name in expected.__dataclass_fields__:
        a, b = getattr(found, name), getattr(expected, name)
        if isinstance(b, np.ndarray):
            assert (a.dtype, a.shape) == (b.dtype, b.shape), name
            assert a.tobytes() == b.tobytes(), name
        else:
            assert a == b, name


# Statistics


@one_or_several_targets
@both_precisions
def test_sweep_statistics_have_the_shape_and_dtype_of_the_result(targets_per_prompt, dtype):
    sweep = a_sweep(targets_per_prompt, dtype=dtype)
    shape = (P, N) if targets_per_prompt is None else (P, targets_per_prompt, N)
    assert sweep.prob_shift().shape == (*shape, J)
    assert sweep.neg().shape == sweep.pearson().shape == sweep.polarity().shape == shape
    assert sweep.prob_shift().dtype == sweep.neg().dtype == sweep.pearson().dtype == dtype
    assert (sweep.polarity().dtype, sweep.linear().dtype) == (np.int8, np.bool_)


@one_or_several_targets
def test_sweep_statistics_of_each_curve_are_its_own(targets_per_prompt):
    sweep = a_sweep(targets_per_prompt, dtype=np.float64)
    base = np.broadcast_to(sweep.base_logprob[..., None], sweep.neg().shape)
    for where in np.ndindex(sweep.neg().shape):
        curve = np.exp(base[where] + sweep.logprob_shift[where]) - np.exp(base[where])
        np.testing.assert_allclose(sweep.prob_shift()[where], curve, rtol=1e-12, atol=1e-15)
        line = LinearRegression(fit_intercept=False).fit(SHIFTS[:, None], curve)
        assert sweep.neg()[where] == pytest.approx(line.coef_[0], rel=1e-9)
        r = np.corrcoef(SHIFTS[MOVED], curve[MOVED])[0, 1]
        assert sweep.pearson()[where] == pytest.approx(r, abs=1e-12)
        assert sweep.polarity()[where] == np.sign(line.coef_[0])


def test_linear_and_polarity_of_a_rising_a_falling_a_bent_and_a_flat_curve():
    curves = np.stack([1e-3 * SHIFTS, -1e-3 * SHIFTS, -(SHIFTS**2), 0 * SHIFTS])
    sweep = a_sweep(logprob_shift=np.stack([curves, curves[::-1]]).astype(np.float32))
    assert sweep.linear().tolist() == [[True, True, False, False], [False, False, True, True]]
    assert sweep.polarity()[0, [0, 1, 3]].tolist() == [1, -1, 0]
    assert sweep.polarity()[1, [0, 2, 3]].tolist() == [0, -1, 1]
    assert sweep.pearson()[0, 3] == 0
    bend = float(abs(sweep.pearson()[0, 2]))
    assert sweep.linear(threshold=bend)[0, 2]
    assert not sweep.linear(threshold=bend + 1e-3)[0, 2]


def test_a_sweep_over_the_zero_shift_alone_has_no_slope():
    shape = (P, N, 1)
    sweep = a_sweep(shifts=np.zeros(1), logprob_shift=np.zeros(shape, dtype=np.float32))
    assert sweep.prob_shift().tolist() == np.zeros(shape).tolist()
    for statistic in (sweep.neg, sweep.pearson, sweep.linear, sweep.polarity):
        with pytest.raises(ValueError, match="other than zero"):
            statistic()


@one_or_several_targets
@both_precisions
def test_neurgrad_counts_only_activations_above_the_threshold_as_positive(
    targets_per_prompt, dtype
):
    activation = np.full((P, L, I), -1, dtype=dtype)
    activation[0, 0, :3] = [0.0, 0.5, 0.6]
    activation[1, 1, 4] = 2.0
    grads = some_gradients(targets_per_prompt, dtype=dtype, activation=activation)
    for threshold, positive in [(0.0, 3), (0.5, 2)]:
        found = grads.neurgrad(threshold)
        assert (found.dtype, found.shape) == (dtype, grads.cg.shape)
        sign = np.where(activation > threshold, 1, -1).astype(dtype)
        assert (sign == 1).sum() == positive
        for prompt in range(P):
            np.testing.assert_array_equal(found[prompt], grads.cg[prompt] * sign[prompt])


def test_top_takes_the_lowest_index_first_among_ties_and_keeps_the_sign():
    cg = np.zeros((P, L, I), dtype=np.float32)
    cg[0, 1, 2], cg[0, 0, 4], cg[0, 1, 0] = -3, 2, -2
    activation = np.ones((P, L, I), dtype=np.float32)
    neurons, scores = some_gradients(cg=cg, activation=activation).top(5)
    assert neurons.dtype == np.int64
    assert neurons[0].tolist() == [[1, 2], [0, 4], [1, 0], [0, 0], [0, 1]]
    assert scores[0].tolist() == [-3, 2, -2, 0, 0]
    assert neurons[1].tolist() == [[0, 0], [0, 1], [0, 2], [0, 3], [0, 4]]


@one_or_several_targets
def test_top_ranks_each_prompt_and_target_by_itself(targets_per_prompt):
    grads = some_gradients(targets_per_prompt)
    neurons, scores = grads.top(L * I)
    assert neurons.shape == (*grads.prob.shape, L * I, 2)
    for where in np.ndindex(grads.prob.shape):
        layer, index = neurons[where].T
        np.testing.assert_array_equal(scores[where], grads.neurgrad()[where][layer, index])
        assert (np.diff(np.abs(scores[where])) <= 0).all()
        assert len(set(zip(layer.tolist(), index.tolist(), strict=True))) == L * I


@pytest.mark.parametrize("n", [0, -1, L * I + 1])
def test_top_of_too_many_or_no_neurons_is_refused(n):
    with pytest.raises(ValueError, match=f"between 1 and {L * I}"):
        some_gradients().top(n)


@one_or_several_targets
def test_interventions_prob_shift(targets_per_prompt):
    result = some_interventions(targets_per_prompt, dtype=np.float64)
    base = result.base_logprob[..., None]
    expected = np.exp(base + result.logprob_shift) - np.exp(base)
    np.testing.assert_allclose(result.prob_shift(), expected, rtol=1e-12, atol=1e-15)


# Tables


@one_or_several_targets
@pytest.mark.parametrize("neurons_per_prompt", [False, True])
def test_sweep_frame_has_one_row_a_prompt_target_and_neuron(targets_per_prompt, neurons_per_prompt):
    sweep = a_sweep(targets_per_prompt, neurons_per_prompt)
    frame = sweep.to_frame()
    assert [*frame.columns[:5]] == ["prompt_index", "prompt", "target", "layer", "neuron"]
    assert [*frame.columns[5:8]] == ["activation", "base_prob", "neg"]
    assert [*frame.columns[8:]] == [
        *("pearson", "linear", "polarity", "error"),
        *("site", "axis", "shift_low", "shift_high"),
    ]
    shared = frame[["site", "axis", "shift_low", "shift_high"]].drop_duplicates()
    assert shared.to_numpy().tolist() == [["up", "magnitude", SHIFTS.min(), SHIFTS.max()]]
    row = 0
    for where in np.ndindex(sweep.neg().shape):
        prompt, neuron, cell = where[0], where[-1], where[:-1]
        target = sweep.targets[prompt]
        expected = {
            "prompt_index": prompt,
            "prompt": sweep.prompts[prompt],
            "target": target if isinstance(target, str) else target[where[1]],
            "layer": (sweep.neurons[prompt] if neurons_per_prompt else sweep.neurons)[neuron, 0],
            "neuron": (sweep.neurons[prompt] if neurons_per_prompt else sweep.neurons)[neuron, 1],
            "activation": sweep.activation[prompt, neuron],
            "base_prob": np.exp(sweep.base_logprob[cell]),
            "neg": sweep.neg()[where],
            "pearson": sweep.pearson()[where],
            "linear": sweep.linear()[where],
            "polarity": sweep.polarity()[where],
            "error": sweep.error[where],
        }
        assert frame.iloc[row][list(expected)].to_dict() == pytest.approx(expected)
        row += 1
    assert len(frame) == row


def test_equal_prompts_stay_apart_in_the_frame_and_survive_parquet(tmp_path):
    sweep = a_sweep(prompts=["same", "same"])
    frame = sweep.to_frame()
    assert frame.groupby("prompt_index").size().tolist() == [N, N]
    assert frame["prompt"].tolist() == ["same"] * (P * N)
    frame.to_parquet(tmp_path / "sweep.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "sweep.parquet"), frame)


@one_or_several_targets
@pytest.mark.parametrize("top", [None, 1, 4])
def test_gradients_frame(targets_per_prompt, top):
    grads = some_gradients(targets_per_prompt)
    frame = grads.to_frame(top=top)
    assert [*frame.columns[:5]] == ["prompt_index", "prompt", "target", "layer", "neuron"]
    assert [*frame.columns[5:]] == ["activation", "base_prob", "cg", "neurgrad", "site"]
    n = top or L * I
    assert len(frame) == grads.prob.size * n
    for i, where in enumerate(np.ndindex(grads.prob.shape)):
        part = frame.iloc[i * n : (i + 1) * n]
        at = part["layer"].to_numpy(), part["neuron"].to_numpy()
        assert (part["prompt"] == grads.prompts[where[0]]).all()
        target = grads.targets[where[0]]
        assert (part["target"] == (target if len(where) == 1 else target[where[1]])).all()
        np.testing.assert_array_equal(part["activation"], grads.activation[where[0]][at])
        np.testing.assert_array_equal(part["cg"], grads.cg[where][at])
        np.testing.assert_array_equal(part["neurgrad"], grads.neurgrad()[where][at])
        assert (part["base_prob"] == grads.prob[where]).all()
        if top:
            np.testing.assert_array_equal(np.stack(at, axis=1), grads.top(top)[0][where])


@one_or_several_targets
def test_interventions_frame(targets_per_prompt):
    result = some_interventions(targets_per_prompt)
    frame = result.to_frame()
    assert [*frame.columns[:4]] == ["prompt_index", "prompt", "target", "intervention"]
    assert [*frame.columns[4:]] == ["base_prob", "logprob_shift", "prob_shift"]
    np.testing.assert_array_equal(frame["logprob_shift"], result.logprob_shift.ravel())
    np.testing.assert_array_equal(frame["prob_shift"], result.prob_shift().ravel())
    assert frame["intervention"].tolist() == list(range(R)) * result.base_logprob.size


def test_repr_says_what_was_computed():
    assert repr(a_sweep(K)) == (
        "Sweep(2 prompts x 3 targets x 4 neurons x 6 shifts in [-2, 1.5], axis='magnitude', "
        "site='up', resolution='grid', method='delta', rows=48, model='tiny')"
    )
    assert repr(some_gradients()) == (
        "Gradients(2 prompts x 2 layers x 5 neurons, site='up', model='tiny')"
    )
    assert repr(some_interventions()) == (
        "Interventions(2 prompts x 3 interventions, method='suffix', model='tiny')"
    )


# Construction


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("base_logprob", (P, 1)),
        ("logprob_shift", (P, N, J - 1)),
        ("logprob_shift", (P, 1, N, J)),
        ("neurons", (N, 3)),
        ("neurons", (P + 1, N, 2)),
        ("neurons", ()),
        ("activation", (N,)),
        ("error", (P, N + 1)),
        ("shifts", (1, J)),
    ],
)
def test_a_shape_that_disagrees_is_refused_by_name(name, shape):
    with pytest.raises(ValueError, match=rf"{name} has shape .* expected \["):
        a_sweep(**{name: np.zeros(shape)})


def test_half_precision_and_lists_are_refused():
    with pytest.raises(ValueError, match="activation must be float32 or float64, got float16"):
        a_sweep(activation=np.zeros((P, N), dtype=np.float16))
    with pytest.raises(TypeError, match="shifts must be a numpy array, got list"):
        a_sweep(shifts=[1.0] * J)


def test_as_many_targets_as_prompts():
    with pytest.raises(ValueError, match="2 prompts need as many targets"):
        a_sweep(targets=["Paris"])


# Files


@pytest.mark.parametrize("make", MAKERS)
@one_or_several_targets
@both_precisions
def test_a_saved_result_comes_back_bit_for_bit(make, targets_per_prompt, dtype, tmp_path):
    result = make(targets_per_prompt, dtype=dtype)
    path = tmp_path / "no suffix ü"
    result.save(path)
    assert os.listdir(tmp_path) == [path.name]
    assert_same(type(result).load(str(path)), result)


@pytest.mark.parametrize("make", MAKERS)
def test_equal_results_are_equal_files(make, tmp_path):
    contents = set()
    for turn in range(8):  # five keys in the library's own order would agree once in 120 times
        make(K).save(tmp_path / f"{turn}")
        contents.add((tmp_path / f"{turn}").read_bytes())
    assert len(contents) == 1


def test_strided_arrays_numpy_integers_and_extreme_floats_are_stored(tmp_path):
    extremes = np.array([[5e-324, -0.0, -np.inf, 1e308]] * P)
    sweep = a_sweep(
        neurons=np.arange(4 * N).reshape(2, 2 * N).T[::2],
        activation=extremes,
        prompt_tokens=[list(np.arange(3)), [np.int64(7)]],
        dtype=np.float64,
    )
    sweep.save(tmp_path / "sweep")
    assert_same(Sweep.load(tmp_path / "sweep"), sweep)


def test_other_programs_can_read_the_arrays(tmp_path):
    sweep = a_sweep(K)
    sweep.save(tmp_path / "sweep.safetensors")
    found = safetensors.numpy.load_file(tmp_path / "sweep.safetensors")
    np.testing.assert_array_equal(found["logprob_shift"], sweep.logprob_shift)


def test_a_truncated_or_extended_file_is_refused(tmp_path):
    path = tmp_path / "result"
    some_interventions().save(path)
    whole = path.read_bytes()
    for length in reversed(range(len(whole))):
        os.truncate(path, length)
        with pytest.raises(ValueError, match="result"):
            Interventions.load(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(ValueError, match="altered"):
        Interventions.load(path)


@pytest.mark.parametrize(
    "mask",
    [
        pytest.param(0xFF, id="every bit"),
        pytest.param(0x20, id="case of a letter, space to NUL"),
        pytest.param(0x01, id="digit to digit, one bit of data"),
    ],
)
def test_a_changed_byte_anywhere_is_refused(mask, tmp_path):
    path = tmp_path / "result"
    some_interventions().save(path)
    whole = path.read_bytes()
    for place in range(len(whole)):
        with path.open("r+b") as file:
            file.write(whole[:place] + bytes([whole[place] ^ mask]) + whole[place + 1 :])
        with pytest.raises(ValueError, match=r"not a result of negkernel|altered after"):
            Interventions.load(path)


def test_a_zeroed_data_block_is_refused(tmp_path):
    path = tmp_path / "sweep"
    a_sweep().save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-64] + bytes(64))
    with pytest.raises(ValueError, match="checksum"):
        Sweep.load(path)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("other", [Sweep, Gradients, Interventions])
def test_a_file_of_another_kind_names_both(make, other, tmp_path):
    result = make()
    kind = type(result).__name__
    if other is type(result):
        other = Sweep if other is not Sweep else Gradients
    result.save(tmp_path / "result")
    with pytest.raises(ValueError, match=f"holds {kind}, not {other.__name__}.*{kind}.load"):
        other.load(tmp_path / "result")


def test_a_newer_format_asks_for_an_upgrade(tmp_path, monkeypatch):
    with monkeypatch.context() as newer:
        newer.setattr(storage, "VERSION", storage.VERSION + 1)
        a_sweep().save(tmp_path / "sweep")
    with pytest.raises(ValueError, match="upgrade negkernel"):
        Sweep.load(tmp_path / "sweep")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x04\x95",
        b"prompt,answer\n" * 20,
        b"\x02" + bytes(7) + b"[]",
        b"\xff" * 8 + b"[" * 100_000,
        safetensors.numpy.save({"weight": np.zeros(3)}),
        safetensors.numpy.save({"weight": np.zeros(3)}, metadata={"sha256": "0" * 64}),
    ],
)
def test_a_file_of_another_program_is_refused(content, tmp_path):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ValueError, match="file"):
        Sweep.load(tmp_path / "file")


def test_a_missing_file_and_a_missing_folder_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        Sweep.load(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere; create it"):
        a_sweep().save(tmp_path / "nowhere" / "sweep")


OPTIONAL = {"logit_diff", "kl", "rank", "top_changed", "magnitude", "scale", "positions"}
OPTIONAL |= {"target_tokens", "base_token_logprob", "token_logprob_shift"}
WRONG = [None, "x", 7, -1, 1.5, True, [], [[]], [1], ["x"], {}, np.zeros(3), np.zeros(3, np.int64)]


@pytest.mark.parametrize("make", MAKERS)
def test_forged_fields_under_a_right_checksum_are_refused_by_name(make, tmp_path):
    result = make()
    kind, path = type(result), tmp_path / "forged"
    result.save(path)
    tensors, described = storage.read(path, kind.__name__)
    for name in [*tensors, *described]:
        own = getattr(result, name)
        for wrong in [*WRONG, np.full(getattr(own, "shape", 2), 1j, np.complex64)]:
            if isinstance(own, str | int | float) and isinstance(wrong, type(own)):
                continue  # another model's name is a name
            if wrong is None and name in OPTIONAL:
                continue
            arrays = {key: value for key, value in tensors.items() if key != name}
            said = {key: value for key, value in described.items() if key != name}
            (arrays if isinstance(wrong, np.ndarray) else said)[name] = wrong
            storage.write(path, kind.__name__, arrays, said)
            with pytest.raises(ValueError, match=f"{path} ") as refused:
                kind.load(path)
            assert "\n" not in str(refused.value)


@pytest.mark.parametrize("make", MAKERS)
def test_a_field_that_is_missing_is_named(make, tmp_path):
    result = make()
    kind, path = type(result), tmp_path / "forged"
    result.save(path)
    tensors, described = storage.read(path, kind.__name__)
    needed = [field.name for field in fields(kind) if field.default is MISSING]
    for name in needed:
        arrays, said = dict(tensors), dict(described)
        arrays.pop(name, None)
        said.pop(name, None)
        storage.write(path, kind.__name__, arrays, said)
        with pytest.raises(ValueError, match=f"it has no '{name}'"):
            kind.load(path)


def test_what_a_later_version_added_is_ignored_with_a_log_line(tmp_path, caplog):
    sweep = a_sweep()
    path = tmp_path / "sweep"
    sweep.save(path)
    tensors, described = storage.read(path, "Sweep")
    storage.write(path, "Sweep", tensors | {"entropy": np.zeros(3)}, described | {"unit": "bit"})
    with caplog.at_level(logging.WARNING):
        assert_same(Sweep.load(path), sweep)
    assert "ignored entropy, unit" in caplog.text


class DiskFullError(OSError):
    pass


@pytest.mark.parametrize("stage", ["open", "write", "fsync", "replace"])
@pytest.mark.parametrize("error", [DiskFullError(errno.ENOSPC, "no space"), KeyboardInterrupt()])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(stage, error, tmp_path, monkeypatch):
    path = tmp_path / "sweep"
    old = a_sweep()
    old.save(path)

    def fail(*args, **kwargs):
        raise error

    with monkeypatch.context() as broken:
        if stage in ("fsync", "replace"):
            broken.setattr(os, stage, fail)
        elif stage == "open":
            broken.setattr(storage.Path, "open", fail)
        else:
            broken.setattr(storage, "memoryview", lambda content: [content[:9], 1], raising=False)
            error = TypeError()
        with pytest.raises(type(error)):
            a_sweep(K).save(path)
    assert os.listdir(tmp_path) == [path.name]
    assert_same(Sweep.load(path), old)


def test_what_json_cannot_say_is_refused_before_anything_is_written(tmp_path):
    sweep = a_sweep(model=object())
    with pytest.raises(TypeError):
        sweep.save(tmp_path / "sweep")
    assert os.listdir(tmp_path) == []


def test_no_pickle_in_the_file(tmp_path):
    sweep = a_sweep()
    path = tmp_path / "sweep"
    sweep.save(path)
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert json.loads(header["__metadata__"]["fields"])["prompts"] == sweep.prompts
    assert {entry["dtype"] for name, entry in header.items() if name != "__metadata__"} == {
        "F32",
        "F64",
        "I64",
    }
