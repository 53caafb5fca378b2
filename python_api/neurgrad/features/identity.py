"""Digests that tell one model, and one list of prompts, from another."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from negkernel.model import environment

if TYPE_CHECKING:
    from negkernel import Engine
    from neurgrad.mceval8k import Prompt


def prompts_digest(prompts: Sequence[Prompt]) -> str:
    """Digest of the prompts' texts, labels and gold labels, in their order."""
    digest = hashlib.sha256()
    for prompt in prompts:
        content = [prompt.text, list(prompt.labels), prompt.gold]
        digest.update(json.dumps(content, ensure_ascii=False).encode() + b"\n")
    return digest.hexdigest()


def identity(
    engine: Engine, prompts: Sequence[Prompt], *, site: str, activations: bool
) -> dict[str, Any]:
    """Everything that a store of features depends on, as JSON can say it."""
    return {
        **environment.identity(engine),
        "prompts": prompts_digest(prompts),
        "site": engine.site if site == "paper" else site,
        "activations": activations,
        "n_prompts": len(prompts),
        "n_labels": len(prompts[0].labels),
        "widths": engine.widths.tolist(),
    }
