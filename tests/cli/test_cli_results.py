"""What commands write is what the engine returns; shards are cut and joined without a seam."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from negkernel import Gradients, Sweep
from neurgrad import demo
from neurgrad.runs import Shard, join, split


@pytest.fixture
def few(facts: Path, tmp_path: Path) -> Path:
    path = tmp_path / "few.csv"
    pd.read_csv(facts, dtype=str).head(5).to_csv(path, index=False)
    return path


@pytest.mark.parametrize(
    ("P", "N", "J", "most"), [(1, 1, 1, 1), (50, 7, 10, 100), (3, 500, 9, 800)]
)
def test_shards_cover_every_pair_once(P: int, N: int, J: int, most: int):
    seen = np.zeros((P, N), int)
    for shard in split(P, N, J, most):
        seen[slice(*shard.prompts), slice(*shard.neurons)] += 1
        assert shard.pairs * J <= max(most, J)
    assert (seen == 1).all()


def test_joined_shards_equal_one_call():
    engine = demo.load("causal")
    facts = demo.prompts("causal").sample(5, random_state=1)
    prompts, answers = facts["prompt"].tolist(), facts["answer"].tolist()
    neurons = np.random.default_rng(0).integers(0, [5, 256], (5, 4, 2))
    shards = [Shard((p, q), (m, n)) for p, q in ((0, 3), (3, 5)) for m, n in ((0, 1), (1, 4))]
    for chosen in (neurons, neurons[0]):
        whole = engine.sweep(prompts, answers, chosen, [-1.0, 1.0])
        parts = []
        for shard in shards:
            at = slice(*shard.prompts)
            own = chosen[at] if chosen.ndim == 3 else chosen
            own = own[..., slice(*shard.neurons), :]
            parts.append(engine.sweep(prompts[at], answers[at], own, [-1.0, 1.0]))
        joined = join(shards, parts)
        assert joined.rows == whole.rows
        assert joined.prompts == whole.prompts
        np.testing.assert_array_equal(joined.neurons, whole.neurons)
        np.testing.assert_allclose(joined.logprob_shift, whole.logprob_shift, atol=1e-5)


def test_a_sweep_of_a_file_is_that_of_the_engine(few: Path, tmp_path: Path, negkernel):
    output = tmp_path / "out.safetensors"
    status, out, _ = negkernel(
        "sweep", "--model", "demo", "--prompts", few, "--output", output, "--neurons", "top:3",
        "--shifts", "-2:2:0.5",
    )  # fmt: skip
    assert status == 0
    assert str(output) in out
    assert sorted(p.name for p in tmp_path.iterdir()) == ["few.csv", "out.safetensors"]
    found = Sweep.load(output)
    table = pd.read_csv(few, dtype=str)
    engine = demo.load("causal")
    asked = table["prompt"].tolist(), table["answer"].tolist()
    strongest, _ = engine.gradients(*asked).top(3)
    expected = engine.sweep(*asked, strongest, [-2, -1.5, -1, -0.5, 0.5, 1, 1.5, 2])
    np.testing.assert_array_equal(found.neurons, expected.neurons)
    np.testing.assert_allclose(found.logprob_shift, expected.logprob_shift, atol=1e-5)


def test_a_masked_model_is_swept(tmp_path: Path, negkernel):
    status, out, _ = negkernel(
        "sweep", "--model", "demo-masked", "--prompt", "[MASK] is the capital of France.",
        "--target", "Paris", "--neurons", "3:1,0:2", "--shifts", "-1:1:0.5",
    )  # fmt: skip
    assert status == 0
    assert "Paris" in out


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("neurons", ["top:4", "random:4", "0:1,4:255", "all"])
def test_gradients_of_the_chosen_neurons_are_written(
    few: Path, tmp_path: Path, negkernel, suffix: str, neurons: str
):
    output = tmp_path / f"out{suffix}"
    status, _, _ = negkernel(
        "grad", "--model", "demo", "--prompts", few, "--output", output, "--neurons", neurons
    )
    assert status == 0
    table = pd.read_csv(output) if suffix == ".csv" else pd.read_parquet(output)
    each = {"top:4": 4, "random:4": 4, "0:1,4:255": 2, "all": 5 * 256}[neurons]
    assert table.groupby("prompt_index").size().tolist() == [each] * 5
    assert {"layer", "neuron", "activation", "cg", "neurgrad"} <= set(table.columns)


def test_gradients_are_saved_whole(few: Path, tmp_path: Path, negkernel):
    output = tmp_path / "g.safetensors"
    status, _, _ = negkernel("grad", "--model", "demo", "--prompts", few, "--output", output)
    assert status == 0
    assert Gradients.load(output).cg.shape == (5, 5, 256)


def test_plots_are_drawn(few: Path, tmp_path: Path, negkernel):
    folder = tmp_path / "a" / "b"
    status, _, _ = negkernel(
        "sweep", "--model", "demo", "--prompts", few, "--plot", folder, "--shifts", "-1:1:0.5"
    )
    assert status == 0
    names = ("curves", "histogram", "layers", "activation")
    drawn = {f"{name}{suffix}" for name in names for suffix in (".png", ".svg")}
    assert {path.name for path in folder.iterdir()} == drawn


def test_titles_are_the_users_text_and_not_the_templates(tmp_path: Path, negkernel):
    folder = tmp_path / "model"
    shutil.copytree(demo.folder("causal"), folder)
    told = json.loads((folder / "tokenizer_config.json").read_text())
    told["chat_template"] = "In fact, {{ messages[0]['content'] }}"
    (folder / "tokenizer_config.json").write_text(json.dumps(told))
    given = ("--model", folder, "--chat", "-p", "the capital of France is", "-t", "Paris")
    shifts = ("--shifts", "-1:1:1", "--neurons", "top:2")
    status, out, _ = negkernel("sweep", *given, *shifts, "--plot", tmp_path)
    assert status == 0
    assert "the capital of France is -> Paris" in out
    drawn = (tmp_path / "curves.svg").read_text()
    assert "the capital of France is [Paris]" in drawn
    assert "In fact" not in out + drawn


@pytest.mark.parametrize("command", ["sweep", "grad"])
def test_dry_run_prices_and_leaves_nothing(facts: Path, tmp_path: Path, negkernel, command: str):
    output = tmp_path / "out.csv"
    status, out, _ = negkernel(
        command, "--model", "demo", "--prompts", facts, "--output", output, "--dry-run"
    )
    assert status == 0
    assert f"{200 * 16 * 100 if command == 'sweep' else 0:,} shifted forwards" in out
    assert "seconds" in out
    assert list(tmp_path.iterdir()) == []


def test_chat_writes_one_bos(tmp_path: Path, negkernel):
    model, tokenizer = demo.load_model("causal")
    tokenizer.chat_template = (
        "{{ bos_token or '' }}{% for m in messages %}{{ m['content'] }}{% endfor %}"
    )
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    output = tmp_path / "out.safetensors"
    asked = ("--prompt", "The capital of France is", "--target", "Paris", "--output", output)
    status, _, err = negkernel("grad", "--model", tmp_path / "model", *asked, "--chat")
    assert status == 0, err
    found = Gradients.load(output)
    assert found.prompts == [tokenizer.bos_token + "The capital of France is"]
    assert found.prompt_tokens[0].count(tokenizer.bos_token_id) == 1


def test_artefacts_of_the_paper_are_reproduced_and_kept(tmp_path: Path, negkernel):
    folder = tmp_path / "study"
    asked = ("reproduce", "fig3", "--model", "demo", "--limit", "3", "--output", folder)
    assert negkernel(*asked)[0] == 0
    assert {"fig3.csv", "fig3.png", "index.html"} <= {path.name for path in folder.iterdir()}
    before = (folder / "fig3.csv").stat().st_mtime_ns
    assert negkernel(*asked)[0] == 0
    assert (folder / "fig3.csv").stat().st_mtime_ns == before
    status, _, err = negkernel("reproduce", "fig99", "--model", "demo", "--output", tmp_path / "x")
    assert (status, err.count("\n")) == (2, 1)
    assert "fig99" in err
    assert not (tmp_path / "x").exists()


def test_a_study_is_priced_and_nothing_is_written(tmp_path: Path, negkernel):
    folder = tmp_path / "study"
    asked = ("reproduce", "table1", "fig4", "fig5", "--model", "demo", "--limit", "3", "--dry-run")
    status, out, err = negkernel(*asked, "--json", "--output", folder)
    assert status == 0, err
    rows = {row["table"]: row["rows"] for row in json.loads(out)["tables"]}
    assert list(rows) == ["random", "every", "together"]
    neurons = 5 * 256
    assert rows["every"] / rows["random"] == pytest.approx(neurons / 100, rel=0.01)
    assert rows["together"] == 3 * 11 * 5 * 50  # prompts, powers of two, ranges, shifts of each
    assert not folder.exists()


def test_a_stopped_study_says_how_it_goes_on(tmp_path: Path, negkernel, monkeypatch):
    def stop(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("neurgrad.analysis.study.PromptStudy.table", stop)
    asked = ("reproduce", "table1", "--model", "demo", "--limit", "2")
    status, _, err = negkernel(*asked, "--output", tmp_path / "study")
    assert status == 130
    assert err.endswith(f"finished in {tmp_path / 'study'}: the same command goes on\n")


def test_a_narrow_terminal_cuts_no_number(negkernel, monkeypatch: pytest.MonkeyPatch):
    ask = ("--model", "demo", "--prompt", "The capital of France is", "--target", "Paris")
    how = ("--neurons", "top:3", "--shifts", "-1:1:1")
    printed = {}
    for width in ("120", "30"):
        monkeypatch.setenv("COLUMNS", width)
        printed[width] = negkernel("sweep", *ask, *how)[1].split()
    numbers = [word for word in printed["120"] if any(map(str.isdigit, word))]
    assert len(numbers) > 3 * 5
    assert [word for word in printed["30"] if any(map(str.isdigit, word))] == numbers
