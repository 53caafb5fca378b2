"""Figures that the paper reports, to be cited beside a model's own: never measured here.

Zhao et al., "Neuron Empirical Gradient", ACL 2025 (arXiv 2412.18053).
"""

from __future__ import annotations

import pandas as pd

TABLE1 = pd.DataFrame(
    [
        ("BERT-base", 0.9201, 0.4981, 0.5004),
        ("BERT-large", 0.9209, 0.4938, 0.4981),
        ("Llama3.2-3B", 0.9483, 0.5000, 0.5000),
        ("Llama2-7B", 0.9659, 0.5157, 0.4843),
        ("Qwen2.5-7B", 0.6549, 0.5116, 0.4884),
        ("Llama3.1-8B", 0.9540, 0.5048, 0.4952),
        ("Llama2-70B", 0.9208, 0.4962, 0.5039),
    ],
    columns=["model", "linear", "positive", "negative"],
)

TABLE2 = pd.DataFrame(
    [
        ("BERT-base", -0.8909, 0.7360, None, 0.9998),
        ("BERT-large", -0.9307, 0.7167, None, 0.9958),
        ("Llama3.2-3B", -0.1281, 0.5854, None, 0.8094),
        ("Llama2-7B", 0.3023, 0.5377, 0.6469, 0.8135),
        ("Qwen2.5-7B", 0.1043, 0.2939, None, 0.5862),
        ("Llama3.1-8B", 0.0072, 0.5098, None, 0.7286),
        ("Llama2-70B", 0.0283, None, None, 1.000),
    ],
    columns=["model", "CG", "IG", "LPI", "NeurGrad"],
)

MAE = pd.DataFrame(
    [
        ("BERT-base", 6.1e-3, 3.0e-3, 2.6e-5),
        ("BERT-large", 4.6e-3, 2.1e-3, 1.9e-4),
        ("Llama3.2-3B", 3.5e-6, 1.8e-6, 1.6e-6),
        ("Llama2-7B", 1.7e-6, 1.2e-6, 1.3e-6),
        ("Qwen2.5-7B", 1.1e-6, 7.6e-7, 7.7e-7),
        ("Llama3.1-8B", 4.9e-6, 1.9e-6, 3.6e-6),
        ("Llama2-70B", 2.2e-4, None, 5.9e-7),
    ],
    columns=["model", "CG", "IG", "NeurGrad"],
)

SECONDS = pd.DataFrame(
    [("Llama2-7B", 0.149, 19.349, 6.086, 0.161)],
    columns=["model", "CG", "IG", "LPI", "NeurGrad"],
)

# Of appendix A.
GENERALITY = pd.DataFrame([("Llama2-7B", 0.9986, 0.9999)], columns=["model", "layers", "prompts"])

# Of the two labels of paws, and of its few-shot against its zero-shot prompts.
SIGNS = pd.DataFrame([("paws", 0.9721, -0.9996)], columns=["task", "opposite", "correlation"])
RATIO = pd.DataFrame([("paws", 5.36)], columns=["task", "ratio"])

CITED: dict[str, dict[str, pd.DataFrame]] = {
    "table1": {"shares": TABLE1},
    "table2": {
        "r with NEG": TABLE2,
        "mean absolute error": MAE,
        "seconds a prompt": SECONDS,
    },
    "table5": {"generality over layers and prompts": GENERALITY},
    "signs": {"the first two labels": SIGNS},
    "magnitude": {"few-shot against zero-shot": RATIO},
}
