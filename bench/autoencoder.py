"""Train a small sparse autoencoder and set its features beside neurons of the same layer.

The autoencoder is a top-k one for the residual stream behind one layer, trained on text that the
model writes itself, saved in SAELens' layout and read back as directions.
"""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from bench.registry import Settings
from bench.report import Record, Value
from negkernel import Engine
from neurgrad import demo, real, sae
from neurgrad.analysis import directions as study

CAPITALS = {
    "France": "Paris",
    "Japan": "Tokyo",
    "Italy": "Rome",
    "England": "London",
    "Russia": "Moscow",
    "Germany": "Berlin",
    "Egypt": "Cairo",
    "Spain": "Madrid",
}
TOP, SHIFT = 16, 2.0  # of the curve of which one point is reported
LIVING = 1e-3  # share of tokens on which a feature must fire to count


@dataclass(frozen=True)
class Sizes:
    """Where an autoencoder reads, how large it is, and how long it is trained."""

    layer: int
    features: int
    active: int
    texts: int
    tokens: int
    steps: int
    sampled: int  # features and neurons whose curves are taken


REAL = Sizes(layer=15, features=2048, active=32, texts=64, tokens=160, steps=400, sampled=100)
QUICK = Sizes(layer=2, features=64, active=8, texts=4, tokens=24, steps=40, sampled=6)


def run(settings: Settings) -> list[Record]:
    """Compare features and neurons of the real model, of the embedded one when quick."""
    if settings.quick:
        return _compared("embedded", demo.load("causal"), QUICK, "The capital of {} is", 2)
    if real.is_prepared("smollm2"):
        engine = real.load("smollm2")
        return _compared("SmolLM2-135M", engine, REAL, "The capital of {} is the city of")
    return [Record("SmolLM2-135M", "features", {"linear": None}, "`make real` prepares it")]


def _compared(
    name: str, engine: Engine, sizes: Sizes, template: str, facts: int | None = None
) -> list[Record]:
    start = time.process_time()
    activations = stream(engine, sizes)
    weights, explained = train(activations, sizes)
    living = (_encode(activations, weights, sizes.active) > 0).float().mean(0) > LIVING
    spent = time.process_time() - start
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder), weights, sizes)
        every = sae.directions(folder, torch.nonzero(living)[:, 0])
    some = every.take(np.random.default_rng(0).permutation(len(every))[: sizes.sampled])
    prompts = [template.format(country) for country in list(CAPITALS)[:facts]]
    asked = engine, prompts, list(CAPITALS.values())[:facts]
    frame = study.beside_neurons(*asked, some, n_neurons=sizes.sampled)
    together = study.top_together(*asked, every, counts=(TOP,), shifts=(SHIFT,))
    case = f"{name}, residual behind layer {sizes.layer}"
    note = (
        f"{len(activations)} tokens, {sizes.features} features, {sizes.active} active, "
        f"{sizes.steps} steps in {spent:.0f} s of a processor; explains {explained:.0%}, "
        f"{len(every)} fire"
    )
    records = []
    for kind, called in zip(study.KINDS, ("neurons", "features"), strict=True):
        own, top = frame[frame["kind"] == kind], together[together["kind"] == kind].iloc[0]
        measures: dict[str, Value] = {
            "items": len(own),
            "linear": float(own["linear"].mean()),
            "median_r": float(own["pearson"].abs().median()),
            "correlation": float(np.corrcoef(own["gradient"], own["neg"])[0, 1]),
            "signs": float((np.sign(own["gradient"]) == np.sign(own["neg"])).mean()),
            "spread": float(own["neg"].abs().quantile(0.99) / own["neg"].abs().median()),
            "top_shift": float(top["prob_shift"]),
            "top_predicted": float(top["predicted"]),
            "unit": float(own["unit"].iloc[0]),
        }
        records.append(Record(case, called, measures, note if called == "features" else ""))
    return records


@torch.no_grad()
def stream(engine: Engine, sizes: Sizes) -> Tensor:
    """Residual stream [tokens, H] behind a layer, on texts that the model writes itself."""
    model, seen = engine.model, []
    torch.manual_seed(0)
    first = torch.randint(model.config.vocab_size, (sizes.texts, 1))

    def keep(module: Any, args: Any, out: Any) -> None:
        hidden = out[0] if isinstance(out, tuple) else out
        seen.append(hidden.flatten(0, 1).clone())

    handle = model.get_decoder().layers[sizes.layer].register_forward_hook(keep)
    try:
        model.generate(
            first,
            attention_mask=torch.ones_like(first),
            do_sample=True,
            top_k=0,
            max_new_tokens=sizes.tokens,
            min_new_tokens=sizes.tokens,
            pad_token_id=0,
        )
    finally:
        handle.remove()
    return torch.cat(seen[4:])  # the first tokens' streams are many times larger


def train(x: Tensor, sizes: Sizes) -> tuple[dict[str, Tensor], float]:
    """Train a top-k autoencoder on ``x`` [tokens, H].

    Returns
    -------
    weights : dict
        As SAELens names them; rows of ``W_dec`` have length 1.
    explained : float
        Share of the variance of ``x`` that it explains.
    """
    generator = torch.Generator().manual_seed(0)
    start = F.normalize(torch.randn(sizes.features, x.shape[1], generator=generator), dim=1)
    weights = {
        "W_enc": start.t().contiguous(),
        "b_enc": torch.zeros(sizes.features),
        "W_dec": start.clone(),
        "b_dec": x.mean(0),
    }
    parameters = [weight.requires_grad_() for weight in weights.values()]
    optimizer = torch.optim.Adam(parameters, lr=1e-3)
    variance = (x - x.mean(0)).square().sum(1).mean()
    for _ in range(sizes.steps):
        batch = x[torch.randint(len(x), (512,), generator=generator)]
        loss = _error(batch, weights, sizes.active) / variance
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            weights["W_dec"].copy_(F.normalize(weights["W_dec"], dim=1))
    weights = {name: weight.detach() for name, weight in weights.items()}
    return weights, 1 - float(_error(x, weights, sizes.active) / variance)


def _encode(x: Tensor, weights: dict[str, Tensor], active: int) -> Tensor:
    """Activations [tokens, features], all but the largest ``active`` of a token 0."""
    before = torch.relu((x - weights["b_dec"]) @ weights["W_enc"] + weights["b_enc"])
    best = before.topk(active, dim=1)
    return torch.zeros_like(before).scatter(1, best.indices, best.values)


def _error(x: Tensor, weights: dict[str, Tensor], active: int) -> Tensor:
    back = _encode(x, weights, active) @ weights["W_dec"] + weights["b_dec"]
    return (x - back).square().sum(1).mean()


def save(folder: Path, weights: dict[str, Tensor], sizes: Sizes) -> None:
    """Write an autoencoder in SAELens' layout."""
    config = {
        "architecture": "topk",
        "k": sizes.active,
        "d_in": weights["W_dec"].shape[1],
        "d_sae": sizes.features,
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "metadata": {"hook_name": f"model.layers.{sizes.layer}"},
    }
    (folder / "cfg.json").write_text(json.dumps(config))
    save_file(weights, folder / "sae_weights.safetensors")
