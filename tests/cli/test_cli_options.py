"""Options are read as documented, and refused in one line before anything is computed."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from negkernel.judge.choice import METHODS
from negkernel.sites import AXES, SITES
from neurgrad import demo
from neurgrad.cli.reading import options
from neurgrad.cli.reading.neurons import parse_neurons
from neurgrad.cli.reading.prompt_files import read_prompts
from neurgrad.cli.reading.shifts import parse_shifts

ASK = ("--model", "demo", "--prompt", "The capital of France is", "--target", "Paris")


def test_options_offer_what_the_engine_offers():
    assert set(options.Site.__args__) == {"paper", *SITES}
    assert set(options.Axis.__args__) == set(AXES)
    assert set(options.Method.__args__) == set(METHODS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-10:10:0.2", [x / 5 for x in range(-50, 51) if x]),
        ("-2:2:0.04", [x / 25 for x in range(-50, 51) if x]),
        ("1:3:1", [1, 2, 3]),
        ("3:1:-1", [3, 2, 1]),
        ("0:1:0.4", [0.4, 0.8]),
        ("5:5:1", [5]),
        ("-1e-3:1e-3:1e-3", [-1e-3, 1e-3]),
    ],
)
def test_shifts_include_both_ends_and_leave_zero_out(text: str, expected: list[float]):
    np.testing.assert_array_equal(parse_shifts(text), expected)


@pytest.mark.parametrize(
    "text", ["", "1", "1:2", "1:2:3:4", "a:2:1", "0:1:0", "0:1:-1", "nan:1:1", "0:inf:1", "0:0:1"]
)
def test_malformed_shifts_are_refused(text: str):
    with pytest.raises(ValueError, match=r"expected|finite|step|zero"):
        parse_shifts(text)


def test_too_many_shifts_are_refused():
    with pytest.raises(ValueError, match="at most"):
        parse_shifts("0:1:1e-9")


def test_neurons_are_read():
    assert parse_neurons("3:17, 4:0").pairs == ((3, 17), (4, 0))
    assert (parse_neurons("top:16").kind, parse_neurons("top:16").n) == ("top", 16)
    assert parse_neurons("random:5").kind == "random"
    assert parse_neurons("all").kind == "all"


@pytest.mark.parametrize(
    "text", ["", "3", "3:", "-1:0", "3:1:2", "top:0", "top:x", "3:1,3:1", "x:1"]
)
def test_malformed_neurons_are_refused(text: str):
    with pytest.raises(ValueError, match=r"expected|twice"):
        parse_neurons(text)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet", ".feather"])
def test_every_kind_of_prompt_file_gives_the_same_prompts(tmp_path: Path, suffix: str):
    table = pd.DataFrame({"prompt": ["a b", 'say "c",'], "answer": ["NA", "007"], "x": [1, 2]})
    path = tmp_path / f"prompts{suffix}"
    if suffix == ".csv":
        table.to_csv(path, index=False)
    elif suffix == ".jsonl":
        table.to_json(path, orient="records", lines=True)
    elif suffix == ".parquet":
        table.to_parquet(path)
    else:
        table.to_feather(path)
    assert read_prompts(path) == (["a b", 'say "c",'], ["NA", "007"])


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.csv", b"", "empty"),
        ("a.csv", b"prompt,answer\n", "no rows"),
        ("a.csv", b"prompt,word\nx,y\n", "no column 'answer'"),
        ("a.csv", b"prompt,answer\nx,y\nx,\n", "row 2, column 'answer'"),
        ("a.csv", b"prompt,answer\n  ,y\n", "row 1, column 'prompt'"),
        ("a.csv", b"\xff\xfe\xff", "cannot be read"),
        ("a.jsonl", b"", "empty"),
        ("a.jsonl", b'{"prompt": "x", "answer": "y"}\n{"prompt"\n', "line 2"),
        ("a.jsonl", b"[1]\n", "line 1"),
        ("a.jsonl", b'{"prompt": "x", "answer": ["y"]}\n', "row 1, column 'answer'"),
        ("a.jsonl", b'{"prompt": "x", "answer": "y"}\n{"prompt": "x"}\n', "row 2, column 'answer'"),
        ("a.parquet", b"nothing", "cannot be read"),
        ("a.feather", b"nothing", "cannot be read"),
        ("a.txt", b"x", "unknown extension"),
    ],
)
def test_a_bad_prompt_file_is_refused(
    tmp_path: Path, negkernel, name: str, content: bytes, reason: str
):
    path = tmp_path / name
    path.write_bytes(content)
    status, out, err = negkernel("sweep", "--model", "demo", "--prompts", path)
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert "--prompts" in err
    assert str(path) in err
    assert reason in err


@pytest.mark.parametrize("command", ["sweep", "grad"])
@pytest.mark.parametrize(
    ("option", "value", "given"),
    [
        ("--model", "/no/such/folder", ("--prompt", "x", "--target", "y")),
        ("--model", "{tmp}", ("--prompt", "x", "--target", "y")),
        ("--prompt", "missing", ("--model", "demo")),
        ("--prompts", "{facts}", ASK),
        ("--prompts", "{tmp}/none.csv", ("--model", "demo")),
        ("--prompt", "The " * 100, ("--model", "demo", "--target", "Paris")),
        ("--target", "New York", ("--model", "demo", "--prompt", "The capital of France is")),
        ("--output", "{tmp}/none/out.csv", ASK),
        ("--output", "{tmp}/out.xyz", ASK),
        ("--output", "/proc/out.csv", ASK),
        ("--plot", "{facts}", ASK),
        ("--neurons", "1:2:3", ASK),
        ("--neurons", "99:0", ASK),
        ("--neurons", "0:99999", ASK),
        ("--neurons", "top:99999", ASK),
        ("--site", "pre", ASK),
        ("--site", "nowhere", ASK),
        ("--method", "magic", ASK),
        ("--dtype", "int3", ASK),
        ("--device", "abacus", ASK),
        ("--seed", "-1", ASK),
        ("--seed", "one", ASK),
    ],
)
def test_bad_input_is_one_line_that_names_option_and_value(
    tmp_path: Path, facts: Path, negkernel, command: str, option: str, value: str, given: tuple
):
    value = value.format(tmp=tmp_path, facts=facts)
    extra = () if value == "missing" else (option, value)
    before = sorted(tmp_path.iterdir())
    status, out, err = negkernel(command, *given, *extra)
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert option in err
    assert value in err
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--shifts", "1:2"),
        ("--shifts", "1:1e30:1e30"),
        ("--axis", "odd"),
        ("--tol", "0"),
        ("--resolution", "x"),
    ],
)
def test_options_of_the_sweep_are_refused_alike(negkernel, option: str, value: str):
    status, out, err = negkernel("sweep", *ASK, option, value)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert option in err
    assert value in err


def test_targets_must_match_prompts(negkernel):
    status, _, err = negkernel("grad", *ASK, "--prompt", "another")
    assert status == 2
    assert "--target" in err


def test_resume_needs_an_output(negkernel):
    status, _, err = negkernel("sweep", *ASK, "--resume")
    assert status == 2
    assert "--output" in err


def test_chat_needs_a_template(negkernel):
    status, _, err = negkernel("sweep", *ASK, "--chat")
    assert (status, err.count("\n")) == (2, 1)
    assert "--chat" in err


def test_a_target_of_several_tokens(tmp_path: Path, negkernel):
    ask = ("--model", "demo", "--prompt", "The capital of France is", "--target", "Paris and Rome")
    how = ("--neurons", "0:3,1:5", "--output", tmp_path / "grad.csv")
    status, _, err = negkernel("grad", *ask, *how)
    assert (status, err.count("\n")) == (2, 1)
    assert "target_tokens='first' or 'all'" in err
    for tokens in ("first", "all"):
        assert negkernel("grad", *ask, *how, "--target-tokens", tokens)[0] == 0
        found = pd.read_csv(tmp_path / "grad.csv")["cg"]
        told = demo.load().gradients([ask[3]], [ask[5]], target_tokens=tokens).cg
        np.testing.assert_allclose(found, told[0, [0, 1], [3, 5]], rtol=1e-5)


MASKED = ("--model", "demo-masked", "--prompt", "[MASK] is the capital of [MASK] .")


def test_a_mask_is_chosen_by_its_index(tmp_path: Path, negkernel):
    engine = demo.load("masked")
    targets = ["Paris", "France"]
    for index, target in enumerate(targets):
        path = tmp_path / f"{index}.csv"
        how = ("--mask-index", index, "--neurons", "0:3,1:5", "--output", path)
        assert negkernel("grad", *MASKED, "--target", target, *how)[0] == 0
        found = pd.read_csv(path)["cg"]
        alone = engine.gradients(MASKED[3:], [target], mask_index=index).cg
        np.testing.assert_allclose(found, alone[0, [0, 1], [3, 5]], rtol=1e-5)


@pytest.mark.parametrize(
    ("given", "option", "reason"),
    [
        ((*MASKED, "--target", "Paris"), "--prompt", "2 mask tokens"),
        ((*MASKED, "--target", "Paris", "--mask-index", "2"), "--mask-index", "2 mask tokens"),
        ((*MASKED, "--target", "Paris", "--mask-index", "-1"), "--mask-index", "-1"),
        ((*ASK, "--mask-index", "0"), "--mask-index", "causal"),
    ],
)
def test_a_mask_that_is_not_there_is_refused(negkernel, given: tuple, option: str, reason: str):
    status, out, err = negkernel("sweep", *given)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert option in err
    assert reason in err


def test_a_row_that_the_model_cannot_take_is_named(tmp_path: Path, negkernel):
    path = tmp_path / "prompts.csv"
    path.write_text(
        "prompt,answer\nThe capital of France is,Paris\nThe capital of France is,New York\n"
    )
    output = tmp_path / "out.csv"
    status, _, err = negkernel("grad", "--model", "demo", "--prompts", path, "--output", output)
    assert (status, err.count("\n")) == (2, 1)
    assert "row 2, column 'answer'" in err
    assert sorted(tmp_path.iterdir()) == [path]
