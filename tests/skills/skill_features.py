"""Features with a planted skill: some neurons favour the gold label, the others know nothing."""

import json

import numpy as np

from neurgrad.analysis.skills import Part, TaskFeatures
from neurgrad.features import PackedScores

K, N = 3, 200


def planted(n_prompts, rng, skilled=20, strength=2.0):
    """Return one split whose first `skilled` neurons point at the gold label, odd ones away."""
    gold = rng.integers(0, K, n_prompts)
    scores = rng.standard_normal((n_prompts, K, N)).astype(np.float32)
    sign = np.where(np.arange(skilled) % 2, -1, 1)
    scores[np.arange(n_prompts), gold, :skilled] += strength * sign
    activation = rng.standard_normal((n_prompts, N)).astype(np.float32)
    activation[:, 0] += 2 * gold
    probability = np.full((n_prompts, K), 1 / K, np.float32)
    return Part(PackedScores.encode(scores), gold, probability, activation)


def study_of(seed=0, splits="clean", shots=0, strength=2.0):
    rng = np.random.default_rng(seed)
    parts = [planted(n, rng, strength=strength) for n in (120, 60, 60)]
    return TaskFeatures("planted", splits, shots, *parts)


def write_agnews(root, n=12):
    """Write a small agnews of our own: four classes, published test rows that stand in train."""
    folder = root / "classification" / "agnews"
    folder.mkdir(parents=True)
    rows = [{"text": f"story {i} about topic {i % 4}", "label": i % 4} for i in range(4 * n)]
    for split, part in {"train": rows, "valid": rows[:8], "test": rows[:8]}.items():
        (folder / f"{split}.json").write_text(json.dumps(part))
    return root
