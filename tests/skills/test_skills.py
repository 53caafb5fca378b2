"""The skill analyses on planted skills, and the command from data to page."""

import numpy as np
import pandas as pd
import pytest
from feature_models import reader
from skill_features import K, N, study_of, write_agnews

from neurgrad.analysis.skills import (
    ARTEFACTS,
    Study,
    accuracy,
    efficiency,
    forests,
    reproduce,
    robustness,
    signs,
    substitution,
)
from neurgrad.probes import ActProbe, PolarProbe


def test_probes_find_a_planted_skill():
    frame = accuracy.by_probe(study_of())
    test = frame.set_index("probe")["test"]
    assert test["Rand"] == pytest.approx(1 / K)
    assert test["LM-Prob"] < 0.5
    assert (test[["Act", "Polar", "Magn", "Tree"]] > 0.6).all()
    size = frame.set_index("probe")["n_neurons"]
    assert 1 < size["Polar"] <= 128
    shown = accuracy.side_by_side(pd.concat([frame, frame.assign(splits="published")]))
    assert list(shown["splits"]) == ["clean", "published"]


def test_fewer_training_prompts_are_the_first_ones():
    features = study_of()
    few = accuracy.by_probe(features, n_train=16)
    assert (few["train"] == 16).all()
    expected = PolarProbe(1).fit(features.train.scores[:16], features.train.gold[:16])
    assert expected.n_features_in_ == N
    sizes = efficiency.by_training_size(features)["train"].unique()
    assert list(sizes) == [16, 32, 64]


def test_accuracy_by_size_is_that_of_probes_of_these_sizes():
    features = study_of(1)
    frame = efficiency.by_size(features)
    polar = frame[frame["probe"] == "Polar"].set_index("n_neurons")["test"]
    for size in (1, 8, 128):
        probe = PolarProbe(size).fit(features.train.scores, features.train.gold)
        assert polar[size] == probe.score(features.test.scores, features.test.gold)


def test_act_sizes_are_those_of_smaller_probes():
    features = study_of(2)
    train, test = features.train, features.test
    whole = ActProbe(64).fit(train.activation, train.gold)
    for size, found in whole.accuracy_by_size(test.activation, test.gold).items():
        probe = ActProbe(size).fit(train.activation, train.gold)
        assert found == probe.score(test.activation, test.gold)


def test_windows_are_probes_of_their_own():
    features = study_of(3)
    frame = substitution.by_window(features, window=16)
    assert list(frame["first"]) == list(range(0, 192, 16))
    assert frame["test"].iloc[0] > frame["test"].iloc[6:].max()
    best = PolarProbe(16).fit(features.train.scores, features.train.gold)
    assert frame["test"].iloc[0] == best.score(features.test.scores, features.test.gold)
    # A later window, counted the slow way.
    chosen = PolarProbe().fit(features.train.scores, features.train.gold)
    neurons, polarity = chosen.neurons_[32:48], chosen.polarity_[32:48]
    votes = (features.test.scores.signs()[:, :, neurons] * polarity).sum(axis=2)
    expected = (votes.argmax(axis=1) == features.test.gold).mean()
    assert frame["test"].iloc[2] == expected
    with pytest.raises(ValueError, match="fewer than a window"):
        substitution.by_window(features, window=N + 1)


def test_robustness_is_one_at_home():
    frame = robustness.across_contexts({"a": study_of(4), "b": study_of(5)}, n_neurons=16)
    home = frame[frame["found_in"] == frame["used_in"]]
    np.testing.assert_allclose(home["robustness"], 1)
    away = frame[frame["found_in"] != frame["used_in"]]
    expected = (away["test"] - 1 / K).to_numpy() / (home["test"] - 1 / K).to_numpy()[::-1]
    np.testing.assert_allclose(away["robustness"], expected)


def test_deep_forests_know_their_training_rows():
    frame = forests.by_shape(study_of(6, strength=0.7), [(1, 2), (64, 2048)])
    assert frame["train"].iloc[1] == 1.0
    assert frame["test"].iloc[1] < 1.0
    assert frame["train"].iloc[0] < 1.0


def test_opposite_signs():
    features = study_of(7)
    found = features.test.scores.signs()
    expected = (found[:, 0] * found[:, 1] < 0).mean()
    assert signs.opposite(features)["opposite"].iloc[0] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("module", "frame"),
    [
        (accuracy, lambda: accuracy.by_probe(study_of())),
        (efficiency, lambda: efficiency.by_size(study_of())),
        (efficiency, lambda: efficiency.by_training_size(study_of())),
        (robustness, lambda: robustness.across_contexts({"a": study_of(1), "b": study_of(2)})),
        (substitution, lambda: substitution.by_window(study_of(), window=64)),
        (forests, lambda: forests.by_shape(study_of(), [(1, 2), (2, 2), (1, 4)])),
    ],
)
def test_pictures(module, frame, tmp_path):
    figure = module.draw(frame())
    figure.savefig(tmp_path / "figure.png")
    assert all(ax.get_children() for ax in figure.axes)


def test_a_drawn_tree_asks_about_neurons(tmp_path):
    figure = forests.draw_tree(study_of(), n_per_layer=50)
    asked = " ".join(text.get_text() for text in figure.axes[0].texts)
    assert "favourite of 0:" in asked
    figure.savefig(tmp_path / "tree.png")


@pytest.mark.slow
def test_from_data_to_page(tmp_path):
    root = write_agnews(tmp_path / "data")
    study = Study(reader(), ["agnews"], tmp_path / "features", shots=(0, -1), root=root)
    names = [name for name in ARTEFACTS if name not in ("fig7", "fig9", "fig8")]
    page = reproduce(study, [*names, "fig15"], tmp_path / "out").read_text()
    for name in names:
        frame = pd.read_csv(tmp_path / "out" / f"{name}.csv")
        assert f"{name}: " in page
        if "splits" in frame:
            assert set(frame["splits"]) == {"clean", "published"}
    assert (tmp_path / "out" / "fig15.png").exists()
    leaky = pd.read_csv(tmp_path / "out" / "table3.csv").set_index(["splits", "shots", "probe"])
    # Published test rows stand in train, and a forest knows those by heart.
    assert leaky.loc[("published", 0, "Tree"), "test"] == 1.0
    assert leaky.loc[("clean", 0, "Tree"), "test"] < 1.0
    with pytest.raises(ValueError, match="expected all or table3"):
        reproduce(study, ["table1"], tmp_path)
