"""Two small language models that know some geography, shipped with the package.

``"causal"`` is a Llama that completes *The capital of France is*, ``"masked"`` a BERT that fills
*[MASK] is the capital of France.* Each takes at most 4 MB and was trained by
``python -m neurgrad.demo.train`` on the sentences that :func:`prompts` lists, so every example in
the documentation runs in seconds, without a network and on any machine.

>>> from neurgrad import demo
>>> engine = demo.load("causal")
>>> facts = demo.prompts("causal")
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from negkernel.arguments import check_choice
from neurgrad.demo.facts import Kind, facts, prompts
from neurgrad.demo.recall import answer_probabilities, recalled

if TYPE_CHECKING:
    from negkernel import Engine

__all__ = [
    "Kind",
    "answer_probabilities",
    "facts",
    "folder",
    "load",
    "load_model",
    "prompts",
    "recalled",
]


def folder(kind: Kind) -> Path:
    """Return the model's folder, an ordinary Hugging Face one that ``from_pretrained`` reads.

    Raises
    ------
    ValueError
        If `kind` is neither ``"causal"`` nor ``"masked"``.
    """
    check_choice("kind of demo model", kind, ("causal", "masked"))
    return Path(__file__).parent / "data" / kind


def load_model(kind: Kind) -> tuple[Any, Any]:
    """Load an embedded model on the CPU in float32, in evaluation mode.

    Returns
    -------
    model
        ``LlamaForCausalLM`` (5 layers of 256 neurons) or ``BertForMaskedLM`` (4 layers of 384).
    tokenizer
        Its fast tokenizer; every answer of :func:`prompts` is one token.
    """
    from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer

    path = folder(kind)
    auto = AutoModelForCausalLM if kind == "causal" else AutoModelForMaskedLM
    return auto.from_pretrained(path).eval(), AutoTokenizer.from_pretrained(path)


def load(kind: Kind = "causal") -> Engine:
    """Load an embedded model into an engine.

    Parameters
    ----------
    kind
        ``"causal"`` or ``"masked"``.

    Returns
    -------
    negkernel.Engine
        Ready for :meth:`~negkernel.Engine.sweep` on the prompts of :func:`prompts`.
    """
    from negkernel import Engine

    return Engine(*load_model(kind))
