"""Choose what the models are asked: facts that SmolLM2 knows, residues that AntiBERTy fills in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from bench.real.command import negkernel

# Heavy chain of trastuzumab, variable domain.
ANTIBODY = (
    "EVQLVESGGGLVQPGGSLRLSCAASGFNIKDTYIHWVRQAPGKGLEWVARIYPTNGYTRYADSVKG"
    "RFTISADTSKNTAYLQMNSLRAEDTAVYYCSRWGGDGFYAMDYWGQGTLVTVSS"
)
REACH = 12  # residues at each side of the masked one: a masked row carries every token


def choose_facts(model: Path, files: Sequence[Path], limit: int, known: Path) -> None:
    """Ask file after file until `limit` prompts are known, each once.

    The blank must end the sentence, which is then asked as it stands: this model continues
    texts and seldom follows the paper's instruction.
    """
    chosen = pd.DataFrame({"prompt": []})
    counts = []
    for file in files:
        wanted = limit - len(chosen)
        if wanted <= 0:
            break
        part = known.with_name(f"{known.stem}-{file.parent.name}-{file.stem}.csv")
        said = part.with_suffix(".json")
        if not said.exists():
            more = ["--template", "{before}", "--limit", wanted, "-o", part]
            negkernel("prompts", "--model", model, file, *more, said=said)
        counts.append({"file": file.stem, **json.loads(said.read_text())})
        chosen = pd.concat([chosen, pd.read_csv(part)]).drop_duplicates("prompt")
    pd.DataFrame(counts).to_csv(known.with_name(f"{known.stem}-counts.csv"), index=False)
    chosen.to_csv(known, index=False)


def choose_residues(model: Path, limit: int, known: Path) -> None:
    """Keep the residues that the model fills in rightly, each within its neighbours."""
    rows = []
    for i in range(REACH, len(ANTIBODY) - REACH):
        residues = list(ANTIBODY[i - REACH : i + REACH + 1])
        residues[REACH] = "[MASK]"
        rows.append((" ".join(residues), ANTIBODY[i]))
    asked = known.with_name(f"{known.stem}-asked.csv")
    pd.DataFrame(rows, columns=["prompt", "answer"]).to_csv(asked, index=False)
    said = known.with_suffix(".json")
    negkernel("prompts", "--model", model, asked, "--limit", limit, "-o", known, said=said)
    counts = pd.DataFrame([{"file": "trastuzumab, heavy chain", **json.loads(said.read_text())}])
    counts.to_csv(known.with_name(f"{known.stem}-counts.csv"), index=False)
