"""The paper's analyses on the embedded model: against direct computations and each other."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from neurgrad import demo
from neurgrad.analysis import (
    ARTEFACTS,
    PromptStudy,
    Settings,
    answered,
    contribution,
    distributions,
    enhancement,
    estimators,
    generality,
    linearity,
    many_neurons,
    reproduce,
)
from neurgrad.analysis.artefacts import chosen
from neurgrad.analysis.remarks import remarks

FEW = Settings(neurons=25, map_prompts=2, range_prompts=2, seed=1)


@pytest.fixture(scope="module")
def engine():
    return demo.load("causal")


@pytest.fixture(scope="module")
def facts():
    table = demo.prompts("causal").sample(6, random_state=3)
    return table["prompt"].tolist(), table["answer"].tolist()


@pytest.fixture(scope="module")
def study(engine, facts):
    return PromptStudy(engine, answered(engine, *facts, limit=3), FEW)


def test_only_answered_prompts_are_kept_and_the_rest_is_counted(engine, facts):
    prompts, answers = facts
    wrong = [answers[1], *answers[1:4], "Qatar Qatar", answers[5]]
    known = answered(engine, prompts, wrong)
    right = engine.rank(prompts, answers) == 0
    assert wrong[0] != answers[0]
    assert known.asked == 6
    assert known.several == 1
    assert known.unknown == 1 + np.count_nonzero(~right[[1, 2, 3, 5]])
    assert known.prompts == [prompts[i] for i in (1, 2, 3, 5) if right[i]]
    assert known.first_problem.startswith("row 5: ")
    assert "Qatar Qatar" in known.first_problem
    assert f"several tokens (the first: {known.first_problem})" in str(known)
    with pytest.raises(ValueError, match=r"0 of 1 facts are known.*negkernel prompts"):
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


def test_linearity_falls_with_the_range_and_agrees_with_a_sweep(study, monkeypatch):
    monkeypatch.setattr(linearity, "NEURONS", 30)
    frame = linearity.by_range(study).set_index("range")
    assert 0.2 not in frame.index  # two shifts: r is 1 by construction
    assert frame.loc[2.0, "r"] > frame.loc[10.0, "r"]
    assert (frame["r_low"] <= frame["r"]).all()
    few = study.first(2)
    neurons = linearity.random_neurons(study.engine, 2, 30, FEW.seed)
    grid = np.delete(np.arange(-10, 11) * 0.2, 10)
    sweep = study.engine.sweep(*few.on[1:], neurons, grid)
    assert frame.loc[2.0, "r"] == pytest.approx(np.abs(sweep.pearson()).mean(), abs=1e-3)


def test_shares_are_those_of_a_grid(study):
    row = linearity.share(study).iloc[0]
    neurons = linearity.random_neurons(study.engine, 3, 25, 1)
    sweep = study.engine.sweep(*study.on[1:], neurons, FEW.shifts)
    assert row["positive"] == pytest.approx((sweep.polarity() > 0).mean())
    assert row["negative"] == pytest.approx((sweep.polarity() < 0).mean())
    assert row["linear"] == pytest.approx(sweep.linear().mean(), abs=0.014)  # one neuron of 75
    assert (row["prompts"], row["neurons"]) == (3, 25)


def test_knobs_reach_the_tables(study):
    settings = Settings(neurons=7, radius=0.5, site="post", estimators=("NeurGrad", "CG"))
    other = PromptStudy(study.engine, study.known, settings)
    found = other.table("estimates")
    assert len(found) == 3 * 7
    assert [name for name in found if name in estimators.FUNCTIONS] == ["NeurGrad", "CG"]
    own = found[found["prompt_index"] == 0]
    sweep = study.engine.sweep(
        *study.first(1).on[1:], own[["layer", "neuron"]].to_numpy(), settings.shifts, site="post"
    )
    np.testing.assert_allclose(own["neg"], sweep.neg()[0], rtol=1e-3, atol=1e-9)
    with pytest.raises(ValueError, match="'CGG' is not an estimator; expected some of CG"):
        Settings(estimators=("CGG",))


def test_neurgrad_tells_neg_best(study):
    frame = estimators.against_neg(study).set_index("estimator")
    assert list(frame.index) == ["CG", "IG", "LPI", "NeurGrad"]
    assert frame["r_pooled"].idxmax() == "NeurGrad"
    assert frame.loc["NeurGrad", "r_pooled"] > 0.95
    assert frame.loc["NeurGrad", "mae"] < frame.loc["CG", "mae"]
    table = study.table("estimates")
    for name in frame.index:
        expected = np.corrcoef(table[name].astype(float), table["neg"].astype(float))[0, 1]
        assert frame.loc[name, "r_pooled"] == pytest.approx(expected)
    assert (frame["r_pooled_low"] <= frame["r_pooled"] + 1e-9).all()


def test_enhanced_neurons_are_moved_by_polarity(study):
    engine, prompts, targets = study.on
    found = enhancement.top_neurons(study).set_index(["estimator", "k", "shift"])["prob_shift"]
    best, score = engine.gradients(prompts, targets).top(1)
    moved = [
        engine.sweep([p], [t], best[i], [0.5 * np.sign(score[i, 0])]).prob_shift().item()
        for i, (p, t) in enumerate(zip(prompts, targets, strict=True))
    ]
    assert found["NeurGrad", 1, 0.5] == pytest.approx(np.mean(moved), rel=1e-4)
    assert found["NeurGrad", 4, 0.1] > found["NeurGrad", 1, 0.1] > 0


def test_contributions_add_up(study):
    frame = contribution.cumulative(study).set_index("percent")
    assert frame.loc[100, "share"] == pytest.approx(1)
    engine, prompts, targets = study.first(2).on
    strength = -np.sort(-np.abs(engine.neg_map(prompts, targets).neg.reshape(2, -1)), axis=1)
    ten = strength[:, :128].sum(1) / strength.sum(1)
    assert frame.loc[10, "share"] == pytest.approx(ten.mean(), rel=1e-4)
    assert frame.loc[10, "least"] == pytest.approx(ten.min(), rel=1e-4)


def test_gradients_add_up_over_small_shifts(study):
    found = many_neurons.together(study, counts=(1, 16, 10**6), ranges=(0.1, 0.5), steps=5)
    assert set(found["neurons"]) == {1, 16}
    few = PromptStudy(*study.on[:1], study.known, FEW)
    few._measured["together"] = found
    near = many_neurons.by_count(few)
    near = near[near["range"] == 0.1]
    np.testing.assert_allclose(near["actual"], near["predicted"], rtol=0.1)
    assert (near["r"] > 0.99).all()
    assert (near["prompts"] == 3).all()


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([5, 5, 5], (1, 1, 1)),
        ([9, 0, 0], (1 / 3, 0, 0)),
        ([0, 0], (0, 0, 0)),
        ([7], (1, np.nan, np.nan)),
    ],
)
def test_generality_of_extreme_counts(counts, expected):
    np.testing.assert_allclose(generality.generality(np.array(counts)), expected, atol=1e-12)


def test_generality_over_layers_and_prompts(study):
    frame = generality.linear_neurons(study)
    assert list(frame["over"]) == ["layers", "prompts"]
    product = frame["coverage"] * frame["distribution"]
    np.testing.assert_allclose(frame["generality"], product)
    table = study.table("strongest")
    np.testing.assert_allclose(frame["linear"], table["linear"].mean())
    best, _ = study.engine.gradients(*study.on[1:]).top(25)
    np.testing.assert_array_equal(table["layer"], best[..., 0].ravel())


def test_distributions_count_every_neuron(study):
    frame = distributions.histograms(study)
    table = study.table("every")
    assert (frame.groupby("quantity")["count"].sum() == len(table)).all()
    outer = frame[~np.isfinite(frame["left"]) | ~np.isfinite(frame["right"])]
    assert 0 < outer["count"].sum() < 0.01 * len(table)  # said, not piled into the last bin
    layers = distributions.by_layer(study)
    own = layers[(layers["layer"] == 2) & (layers["quantity"] == "neg")].iloc[0]
    neg = table[table["layer"] == 2]["neg"]
    assert own["magnitude"] == pytest.approx(neg.abs().mean(), rel=1e-4)
    assert own["variance"] == pytest.approx(neg.var(ddof=0), rel=1e-4)
    sizes = layers[layers["quantity"] == "neg"]
    expected = np.corrcoef(sizes["magnitude"], sizes["variance"])[0, 1]
    assert own["correlation"] == pytest.approx(expected)


def test_reproduce_writes_tables_figures_and_a_page(engine, facts, tmp_path, monkeypatch):
    done = []
    few = {"limit": 2, "settings": Settings(neurons=20, map_prompts=1, range_prompts=1)}
    names = ["table1", "table5", "fig11"]
    summary = reproduce(
        engine, *facts, tmp_path, names=names, advance={"artefacts": done.append}, **few
    )
    assert done == ["table1", "table5", "fig10"]
    text = summary.read_text()
    assert "2 of " in text
    assert "Cited from the paper" in text
    assert "fig10, fig11: Activations and NEG" in text
    assert "torch " in text
    assert "2 prompts only" in text
    for name in done:
        assert len(pd.read_csv(tmp_path / f"{name}.csv"))
        assert (tmp_path / f"{name}.png").stat().st_size > 1000
    kept = pd.read_parquet(tmp_path / "tables" / "random.parquet")
    assert len(kept) == 2 * 20
    assert {"activation", "base_prob", "neg", "pearson"} <= set(kept)
    said = json.loads((tmp_path / "study.json").read_text())
    assert said["prompts"]["asked"] == said["prompts"]["unknown"] + len(said["prompts"]["rows"])
    assert said["settings"]["neurons"] == 20
    before = (tmp_path / "table1.csv").read_text()

    (tmp_path / "table5.csv").write_text("over\n")  # damaged
    computed = []
    for name in done:
        monkeypatch.setitem(ARTEFACTS, name, _counted(ARTEFACTS[name], name, computed))
    reproduce(engine, *facts, tmp_path, names=names, **few)
    assert computed == ["table5"]
    assert (tmp_path / "table1.csv").read_text() == before

    other = replace(few["settings"], seed=9)
    with pytest.raises(ValueError, match="differs in seed"):
        reproduce(engine, *facts, tmp_path, names=names, limit=2, settings=other)


def _counted(artefact, name, computed):
    def compute(study):
        computed.append(name)
        return artefact.compute(study)

    return replace(artefact, compute=compute)


def test_estimators_are_computed_once_for_all_artefacts(engine, facts, tmp_path, monkeypatch):
    computed = []
    lpi = estimators.FUNCTIONS["LPI"]
    monkeypatch.setitem(
        estimators.FUNCTIONS, "LPI", lambda *a, **k: computed.append(len(a[1])) or lpi(*a, **k)
    )
    few = {"limit": 2, "settings": Settings(neurons=20)}
    reproduce(engine, *facts, tmp_path, names=["table2"], **few)
    reproduce(engine, *facts, tmp_path, names=["table2", "fig3"], **few)
    # The tops are of answers that are kept while the table beside them is made; one more prompt
    # is the one that is timed.
    assert computed == [2, 2, 1]


def test_remarks_claim_what_the_intervals_allow():
    def said(positive, reach, best="NeurGrad", r=0.9, second=(0.1, 0.0, 0.2), prompts=100):
        shares = {"linear": 0.3, "positive": positive, "negative": 1 - positive}
        table1 = {"prompts": prompts, "neurons": 100}
        for name, value in shares.items():
            table1 |= {name: value, f"{name}_low": value - reach, f"{name}_high": value + reach}
        rows = [("CG", *second, prompts), (best, 0.9, 0.8, 0.95, prompts)]
        ends = ["r_pooled", "r_pooled_low", "r_pooled_high"]
        near = {"range": 0.5, "prompts": prompts, "r_low": r - 0.1, "r_high": r + 0.1}
        return remarks(
            {
                "table1": pd.DataFrame([table1]),
                "table2": pd.DataFrame(rows, columns=["estimator", *ends, "prompts"]),
                "fig5": pd.DataFrame({"neurons": [1, 64], "r": [1.0, r], **near}),
            }
        )

    same = said(0.49, 0.005)
    assert "is nearly equal, as in the paper" in same[0]
    assert "outside the paper's range of 0.655 to 0.966" in same[0]
    assert "NeurGrad correlates best with NEG, as in the paper: r = 0.9000 [0.8000" in same[1]
    assert "With 64 random neurons" in same[2]
    assert "as in the paper" in same[2]
    assert "unequal, unlike" in said(0.4, 0.02)[0]
    assert "not told apart from equal" in said(0.45, 0.1)[0]  # 55 of 100 is no finding
    close = said(0.45, 0.01, best="IG", r=0.5, second=(0.85, 0.7, 0.9))
    assert "not told apart" in close[1]
    assert all("unlike the paper" in line for line in close)
    assert all("of 3 prompts only" in line for line in said(0.5, 0.1, prompts=3))


def test_names_of_artefacts():
    assert chosen(["all"], ARTEFACTS) == list(ARTEFACTS)
    assert chosen(["fig14", "fig5", "table1"], ARTEFACTS) == ["table1", "fig5"]
    with pytest.raises(ValueError, match="'fig1' is not an artefact"):
        chosen(["fig1"], ARTEFACTS)


def test_a_masked_model_has_no_lpi():
    engine = demo.load("masked")
    table = demo.prompts("masked").sample(1, random_state=0)
    known = answered(engine, table["prompt"].tolist(), table["answer"].tolist())
    assert list(estimators.scores(PromptStudy(engine, known))) == ["CG", "IG", "NeurGrad"]
