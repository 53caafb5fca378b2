"""Layers and neurons of the models that the paper's public code knows by short names.

Its own tables give 11,008 neurons for the 70B models of Llama 3 and for Llama 3.2 3B; these are the
models' configurations.
"""

from __future__ import annotations

_LLAMA = {
    "llama2-7b": (32, 11008),
    "llama2-13b": (40, 13824),
    "llama2-70b": (80, 28672),
    "llama3-8b": (32, 14336),
    "llama3-70b": (80, 28672),
    "llama3.1-8b": (32, 14336),
    "llama3.1-70b": (80, 28672),
    "llama3.2-1b": (16, 8192),
    "llama3.2-3b": (28, 8192),
    "qwen2.5-7b": (28, 18944),
}
_SIZES = {
    "bert-base-uncased": (12, 3072),
    "bert-large-uncased": (24, 4096),
    "bert-large-uncased-whole-word-masking": (24, 4096),
    **{f"{name}{tuned}": size for name, size in _LLAMA.items() for tuned in ("", "-it")},
}

MODEL_LAYERS = {name: layers for name, (layers, _) in _SIZES.items()}
INTERMIDIATE_SIZE = {name: neurons for name, (_, neurons) in _SIZES.items()}
