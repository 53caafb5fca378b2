"""The paper's analyses on the embedded model: against direct computations and each other."""

import numpy as np
import pandas as pd
import pytest

from neurgrad import demo
from neurgrad.analysis import (
    ARTEFACTS,
    answered,
    contribution,
    distributions,
    enhancement,
    estimators,
    generality,
    linearity,
    many_neurons,
    page,
    reproduce,
)
from neurgrad.analysis.reproduce import chosen

SHIFTS = np.delete(np.linspace(-2, 2, 101), 50)


@pytest.fixture(scope="module")
def engine():
    return demo.load("causal")


@pytest.fixture(scope="module")
def facts():
    table = demo.prompts("causal").sample(6, random_state=3)
    return table["prompt"].tolist(), table["answer"].tolist()


@pytest.fixture(scope="module")
def on(engine, facts):
    known = answered(engine, *facts, limit=3)
    return engine, known.prompts, known.targets


@pytest.fixture(scope="module")
def neg_map(on):
    engine, prompts, targets = on
    return engine.neg_map(prompts[:2], targets[:2])


def test_only_answered_prompts_are_kept_and_the_rest_is_counted(engine, facts):
    prompts, answers = facts
    wrong = [answers[1], *answers[1:4], "Qatar Qatar", answers[5]]
    known = answered(engine, prompts, wrong)
    right = engine.rank(prompts, answers) == 0
    assert wrong[0] != answers[0]
    assert known.asked == 6
    assert known.unusable == 1
    assert known.missed == 1 + np.count_nonzero(~right[[1, 2, 3, 5]])
    assert known.prompts == [prompts[i] for i in (1, 2, 3, 5) if right[i]]
    assert known.first_problem.startswith("row 5: ")
    assert "Qatar Qatar" in known.first_problem
    assert f"1 cannot be asked (the first: {known.first_problem})" in str(known)
    with pytest.raises(ValueError, match="0 of 1 prompts are answered correctly"):
        answered(engine, prompts[:1], [answers[1]])


def test_rank_counts_likelier_tokens(engine, facts):
    prompts, answers = [one[:1] for one in facts]
    ids = engine.gradients(prompts, answers).prompt_tokens
    import torch

    with torch.no_grad():
        logits = engine.model(torch.tensor(ids)).logits[0, -1]
    order = logits.argsort(descending=True).tolist()
    ranks = engine.rank(prompts, [[order[0], order[7], order[-1]]])
    np.testing.assert_array_equal(ranks, [[0, 7, len(order) - 1]])


def test_linearity_falls_with_the_range_and_agrees_with_a_sweep(on):
    engine, prompts, targets = on
    frame = linearity.by_range(*on, n_neurons=30, ranges=(2.0, 10.0), seed=5)
    near, far = (frame[frame["range"] == limit]["r"].mean() for limit in (2.0, 10.0))
    assert near > far
    neurons = linearity.random_neurons(engine, len(prompts), 30, 5)
    sweep = engine.sweep(prompts, targets, neurons, np.delete(np.arange(-10, 11) * 0.2, 10))
    np.testing.assert_allclose(
        frame[frame["range"] == 2.0]["r"], np.abs(sweep.pearson()).mean(1), atol=1e-3
    )


def test_shares_are_those_of_a_grid(on):
    engine, prompts, targets = on
    row = linearity.share(*on, n_neurons=25, seed=1).iloc[0]
    neurons = linearity.random_neurons(engine, len(prompts), 25, 1)
    sweep = engine.sweep(prompts, targets, neurons, SHIFTS)
    assert row["positive"] == pytest.approx((sweep.polarity() > 0).mean())
    assert row["negative"] == pytest.approx((sweep.polarity() < 0).mean())
    assert row["linear"] == pytest.approx(sweep.linear().mean(), abs=0.014)  # one neuron of 75


def test_neurgrad_tells_neg_best(on):
    frame = estimators.against_neg(*on, n_neurons=60).set_index("estimator")
    assert list(frame.index) == ["CG", "IG", "LPI", "NeurGrad"]
    assert frame["r_pooled"].idxmax() == "NeurGrad"
    assert frame.loc["NeurGrad", "r_pooled"] > 0.95
    assert frame.loc["NeurGrad", "mae"] < frame.loc["CG", "mae"]


def test_enhanced_neurons_are_moved_by_polarity(on):
    engine, prompts, targets = on
    frame = enhancement.top_neurons(*on, counts=(1, 4), shifts=(0.1, 0.5))
    found = frame.set_index(["estimator", "k", "shift"])["prob_shift"]
    best, score = engine.gradients(prompts, targets).top(1)
    moved = [
        engine.sweep([p], [t], best[i], [0.5 * np.sign(score[i, 0])]).prob_shift().item()
        for i, (p, t) in enumerate(zip(prompts, targets, strict=True))
    ]
    assert found["NeurGrad", 1, 0.5] == pytest.approx(np.mean(moved), rel=1e-4)
    assert found["NeurGrad", 4, 0.1] > found["NeurGrad", 1, 0.1] > 0


def test_contributions_add_up(neg_map):
    frame = contribution.cumulative(neg_map)
    assert frame[frame["percent"] == 100]["share"].to_numpy() == pytest.approx(1)
    ten = frame[(frame["percent"] == 10) & (frame["prompt_index"] == 1)]["share"].item()
    strength = np.sort(np.abs(neg_map.neg[1]).ravel())[::-1]
    assert ten == pytest.approx(strength[:128].sum() / strength.sum(), rel=1e-5)


def test_gradients_add_up_over_small_shifts(on):
    frame = many_neurons.together(*on, counts=(1, 16, 10**6), ranges=(0.1, 0.5), steps=5)
    assert set(frame["neurons"]) == {1, 16}
    near = frame[frame["range"] == 0.1]
    np.testing.assert_allclose(near["actual"], near["predicted"], rtol=0.1)
    assert (near["r"] > 0.99).all()


@pytest.mark.parametrize(
    ("counts", "expected"),
    [([5, 5, 5], (1, 1, 1)), ([9, 0, 0], (1 / 3, 0, 0)), ([0, 0], (0, 0, 0))],
)
def test_generality_of_extreme_counts(counts, expected):
    np.testing.assert_allclose(generality.generality(np.array(counts)), expected, atol=1e-12)


def test_generality_over_layers_and_prompts(on):
    frame = generality.linear_neurons(*on, n_neurons=20)
    assert list(frame["over"]) == ["layers", "prompts"]
    product = frame["coverage"] * frame["distribution"]
    np.testing.assert_allclose(frame["generality"], product)


def test_distributions_count_every_neuron(neg_map):
    frame = distributions.histograms(neg_map)
    assert (frame.groupby("quantity")["count"].sum() == neg_map.neg.size).all()
    layers = distributions.by_layer(neg_map)
    own = layers[(layers["layer"] == 2) & (layers["quantity"] == "neg")]
    assert own["mean"].item() == pytest.approx(neg_map.neg[:, 2].mean(), rel=1e-4)
    assert own["variance"].item() == pytest.approx(neg_map.neg[:, 2].var(), rel=1e-4)


def test_reproduce_writes_tables_figures_and_a_page(engine, facts, tmp_path, monkeypatch):
    done = []
    few = {"limit": 2, "map_prompts": 1, "range_prompts": 1}
    names = ["table1", "table5", "fig11"]
    summary = reproduce(engine, *facts, tmp_path, names=names, advance=done.append, **few)
    assert done == ["table1", "table5", "fig10"]
    text = summary.read_text()
    assert "2 of " in text
    assert "Cited from the paper" in text
    assert "fig10, fig11: Activations and NEG" in text
    for name in done:
        assert len(pd.read_csv(tmp_path / f"{name}.csv"))
        assert (tmp_path / f"{name}.png").stat().st_size > 1000
    before = (tmp_path / "table1.csv").read_text()

    (tmp_path / "table5.csv").write_text("over\n")  # damaged
    computed = []
    for name in done:
        artefact = ARTEFACTS[name]
        counted = _counted(artefact, name, computed)
        monkeypatch.setitem(ARTEFACTS, name, counted)
    reproduce(engine, *facts, tmp_path, names=names, **few)
    assert computed == ["table5"]
    assert (tmp_path / "table1.csv").read_text() == before

    with pytest.raises(ValueError, match="differs in seed"):
        reproduce(engine, *facts, tmp_path, names=names, seed=9, **few)


def _counted(artefact, name, computed):
    def compute(study):
        computed.append(name)
        return artefact.compute(study)

    return type(artefact)(artefact.title, compute, artefact.draw)


def test_the_page_says_where_the_pattern_differs():
    def said(positive, neurons, best="NeurGrad", r=0.9):
        table1 = {"linear": 0.3, "positive": positive, "negative": 1 - positive, "neurons": neurons}
        return page.remarks(
            {
                "table1": pd.DataFrame([table1 | {"prompts": 10}]),
                "table2": pd.DataFrame({"estimator": ["CG", best], "r_pooled": [0.1, 0.9]}),
                "fig5": pd.DataFrame({"neurons": [1, 64], "range": 0.5, "r": [1.0, r]}),
            }
        )

    same = said(0.49, 100)
    assert "nearly equal, as in the paper" in same[0]
    assert "outside the paper's range of 0.655 to 0.966" in same[0]
    assert "NeurGrad correlates best with NEG, as in the paper" in same[1]
    assert "With 64 random neurons" in same[2]
    assert "as in the paper" in same[2]
    differs = said(0.45, 1000, best="IG", r=0.5)
    assert all("unlike the paper" in line for line in differs)
    assert "nearly equal" in said(0.45, 10)[0]  # 55 of 100 is no finding


def test_names_of_artefacts():
    assert chosen(["all"]) == list(ARTEFACTS)
    assert chosen(["fig14", "fig5", "table1"]) == ["table1", "fig5"]
    with pytest.raises(ValueError, match="'fig1' is not an artefact"):
        chosen(["fig1"])


def test_a_masked_model_has_no_lpi():
    engine = demo.load("masked")
    table = demo.prompts("masked").sample(1, random_state=0)
    found = estimators.scores(engine, table["prompt"].tolist(), table["answer"].tolist())
    assert list(found) == ["CG", "IG", "NeurGrad"]
