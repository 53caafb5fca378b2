"""The skill analyses on planted skills, and the command from data to page."""

import numpy as np
import pandas as pd
import pytest
from feature_models import reader
from skill_features import K, N, study_of, write_agnews

from negkernel.request.neurons import every_neuron
from neurgrad.analysis.artefacts import produce, side_by_side
from neurgrad.analysis.skills import (
    ARTEFACTS,
    Part,
    TaskFeatures,
    TaskStudy,
    accuracy,
    efficiency,
    forests,
    robustness,
    signs,
    substitution,
)
from neurgrad.analysis.skills.artefacts import chosen
from neurgrad.analysis.skills.cautions import cautions
from neurgrad.analysis.skills.gather import asked
from neurgrad.features import PackedScores, batches
from neurgrad.probes import ActProbe, PolarProbe, TreeProbe, tree_features


def made(study, names, folder):
    return produce(study, {name: ARTEFACTS[name] for name in names}, folder)


def test_probes_find_a_planted_skill():
    frame = accuracy.by_probe(study_of())
    test = frame.set_index("probe")["test"]
    assert test["Rand"] == pytest.approx(1 / K)
    assert test["LM-Prob"] < 0.5
    assert (test[["Act", "Polar", "Magn", "Tree"]] > 0.6).all()
    size = frame.set_index("probe")["n_neurons"]
    assert 1 < size["Polar"] <= 128
    assert (frame["n_test"] == 60).all()
    # Wilson's limits of 20 right of 60.
    chance = frame.set_index("probe").loc["Rand"]
    assert (chance["test_low"], chance["test_high"]) == pytest.approx((0.227, 0.459), abs=2e-3)
    shown = accuracy.side_by_side(pd.concat([frame, frame.assign(splits="published")]))
    assert list(shown["splits"]) == ["clean", "published"]


def test_labels_that_the_model_hardly_considers_are_told():
    frame = accuracy.by_probe(study_of()).assign(valid_in_test=0)
    assert cautions(frame) == []
    (line,) = cautions(frame.assign(label_mass=0.0007))
    assert "planted, clean splits, 0-shot: the labels carry 0.07% of the probability" in line


def test_the_test_size_is_free_of_the_training_limit(tmp_path):
    root = write_agnews(tmp_path)
    whole = asked("agnews", root=root)
    few = asked("agnews", root=root, limit=6)
    assert [len(few[name]) for name in ("train", "valid")] == [6, 1]
    assert few["test"] == whole["test"]
    assert len(asked("agnews", root=root, limit=6, test_limit=2)["test"]) == 2


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
        (signs, lambda: signs.opposite(study_of()).assign(correlation=-0.9)),
        (robustness, lambda: robustness.across_contexts({"a": study_of(1), "b": study_of(2)})),
        (substitution, lambda: substitution.by_window(study_of(), window=64)),
        (forests, lambda: forests.by_shape(study_of(), [(1, 2), (2, 2), (1, 4)])),
    ],
)
def test_pictures(module, frame, tmp_path):
    figure = module.draw(frame())
    figure.savefig(tmp_path / "figure.png")
    assert all(ax.get_children() for ax in figure.axes)


def test_a_drawn_tree_is_the_forests(tmp_path):
    features = study_of()
    frame = forests.by_node(features, neurons=every_neuron([50] * 100))
    X, gold = tree_features(features.train.scores), features.train.gold
    tree = TreeProbe(1, max_depth=3).fit(X, gold).forest_.estimators_[0].tree_
    assert len(frame) == tree.node_count
    root = frame[frame["node"] == 1].iloc[0]
    layer, index = map(int, root["asks"].split(" ")[0].split(":"))
    assert 50 * layer + index == tree.feature[0]
    # Every answer leads where the tree's own threshold does.
    left = tree.weighted_n_node_samples[tree.children_left[0]]
    assert frame.set_index("node")["prompts"][2] == left
    labels = root["asks"].removesuffix("?").split("favours ")[1].split(" or ")
    assert [int(label) for label in labels] == list(range(int(tree.threshold[0]) + 1))
    published = forests.by_node(study_of(1, splits="published"), neurons=every_neuron([50] * 100))
    figure = forests.draw_tree(pd.concat([frame, published]))
    assert len(figure.axes) == 2
    said = " ".join(text.get_text() for text in figure.axes[0].texts)
    assert root["asks"] in said
    figure.savefig(tmp_path / "tree.png")


def test_a_tree_of_two_labels_asks_for_the_second():
    """Its feature is 1 where label 0 is favoured, so the left branch, yes, favours label 1."""
    gold = np.random.default_rng(0).integers(0, 2, 80)
    scores = np.stack([1 - gold, gold], axis=1)[:, :, None] + 0.5  # one neuron, always right
    part = Part(PackedScores.encode(scores), gold, scores[..., 0], scores[:, 0])
    features = TaskFeatures("planted", "clean", 0, part, part, part)
    frame = forests.by_node(features, neurons=every_neuron([3] * 100)).set_index("node")
    assert frame.loc[1, "asks"] == "0:0 favours 1?"
    assert list(frame.loc[[2, 3], "label"]) == [1, 0]


@pytest.mark.slow
def test_from_data_to_page(tmp_path):
    root = write_agnews(tmp_path / "data")
    study = TaskStudy(reader(), ["agnews"], tmp_path / "features", shots=(0, -1), root=root)
    names = [name for name in ARTEFACTS if name not in ("fig7", "fig9", "fig8")]
    page = made(study, names, tmp_path / "out").read_text()
    for name in names:
        frame = pd.read_csv(tmp_path / "out" / f"{name}.csv")
        assert set(frame["splits"]) == {"clean", "published"}
        assert (tmp_path / "out" / f"{name}.png").exists()
        section = page.split(f"<h2>{name}: ")[1].split("</section>")[0]
        for value in ARTEFACTS[name].values:
            assert f"{value}, clean" in section
            assert f"{value}, published" in section
    leaky = pd.read_csv(tmp_path / "out" / "table3.csv").set_index(["splits", "shots", "probe"])
    # Published test rows stand in train, and a forest knows those by heart.
    assert leaky.loc[("published", 0, "Tree"), "test"] == 1.0
    assert leaky.loc[("clean", 0, "Tree"), "test"] < 1.0
    # All published validation rows are test rows: what was chosen on them says little.
    shared = leaky["valid_in_test"].groupby("splits").unique()
    assert (shared["published"].tolist(), shared["clean"].tolist()) == ([8], [0])
    assert "published splits, 0-shot: 8 validation records are test records" in page
    with pytest.raises(ValueError, match="did you mean 'table3'"):
        chosen(["table33"])


def test_light_mode_finds_what_the_store_finds(tmp_path, monkeypatch):
    monkeypatch.setattr(batches, "MOST_PROMPTS", 7)  # several batches, the last one ragged
    root = write_agnews(tmp_path / "data")
    options = {"schemes": ["clean"], "shots": (0, 4), "root": root}
    kept = TaskStudy(reader(), ["agnews"], tmp_path / "kept", **options)
    light = TaskStudy(reader(), ["agnews"], tmp_path / "light", **options, light=True)
    for n_train in (None, 9):
        frame = kept.accuracies(n_train=n_train)
        expected = frame[~frame["probe"].isin(["Act", "Tree"])].reset_index(drop=True)
        pd.testing.assert_frame_equal(light.accuracies(n_train=n_train), expected, check_exact=True)
    assert not (tmp_path / "light").exists()
    with pytest.raises(ValueError, match="'fig6' needs kept features; light mode has table3"):
        chosen(["fig6"], light=True)


def test_a_task_without_its_published_train_file_has_clean_splits_only(tmp_path, caplog):
    root = write_agnews(tmp_path / "data")
    (root / "classification" / "agnews" / "train.json").unlink()
    study = TaskStudy(reader(), ["agnews"], tmp_path / "features", root=root, light=True)
    with pytest.warns(UserWarning, match=r"lacks .*train\.json"):
        page = made(study, ["table3"], tmp_path / "out").read_text()
    assert "agnews has no published splits here" in caplog.text
    assert "test, clean" in page
    assert "test, published" not in page
    study.schemes = ["published"]
    with (
        pytest.warns(UserWarning, match="lacks"),
        pytest.raises(ValueError, match="files of its published splits"),
    ):
        made(study, ["table3"], tmp_path / "out")


def test_the_page_puts_the_schemes_side_by_side():
    frame = pd.concat(
        [substitution.by_window(study_of(3, splits=scheme)) for scheme in ("clean", "published")]
    )
    table = side_by_side(frame, ARTEFACTS["fig8"])
    assert list(table) == ["task", "shots", "first", "test, clean", "test, published"]
    assert list(table["first"]) == [0, 64, 128]
    published = frame[frame["splits"] == "published"]["test"]
    np.testing.assert_array_equal(table["test, published"], published)
    short = frame[(frame["splits"] == "clean") | (frame["first"] < 64)]
    assert side_by_side(short, ARTEFACTS["fig8"])["test, published"].isna().sum() == 2
