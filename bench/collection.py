"""Collecting gradient features of paws prompts against only reading the prompts."""

from __future__ import annotations

import tempfile
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedTokenizerFast

import negkernel
from bench.contest import Contestant, contest
from bench.models import TINY, Shape, random_llama
from bench.registry import Settings
from bench.report import Record
from neurgrad.features import collect_prompts
from neurgrad.mceval8k import Dataset, Prompt, Split, find, load, prompts
from neurgrad.mceval8k import Record as Row

PLAIN = "plain forward"
BATCH = 8  # prompts of one plain forward, of like length and padded on the left


def run(settings: Settings) -> list[Record]:
    """Zero-shot and two-shot prompts; the goals are prices of 1.2 and 0.6 plain forwards."""
    data = _small() if settings.quick else load("paws")
    n_prompts = 8 if settings.quick else 48
    asked = {shots: prompts(data, shots=shots) for shots in (0, 2)}
    shape = TINY if settings.quick else Shape(768, 12, 12, 12, 2048, 32_000)
    shown = [prompt.text for prompt in asked[2].train[:2000]]
    tokenizer = _tokenizer(shown, min(16_000, shape.vocabulary))
    engine = negkernel.Engine(random_llama(shape, device=settings.device), tokenizer)

    def ours(some: list[Prompt]) -> Any:
        with tempfile.TemporaryDirectory() as folder:
            return collect_prompts(engine, some, folder).probability

    def plain(some: list[Prompt]) -> Any:
        return _read(engine, some)

    records = []
    for shots, price in ((0, 1.2), (2, 0.6)):
        test = list(asked[shots].test)
        rounds = [
            test[n_prompts * (i % (len(test) // n_prompts)) :][:n_prompts]
            for i in range(settings.repeats + 1)
        ]
        records += contest(
            f"paws, {shots}-shot, {n_prompts} prompts",
            [
                Contestant("negkernel", ours, note=f"{shape}; features of all neurons, 2 labels"),
                Contestant(PLAIN, plain, goal=1 / price, note=f"at most {price} of it is the goal"),
            ],
            rounds,
            truth=PLAIN,
            budget=1e-3,  # probabilities, float32, of a padded batch and of a packed one
            rows=n_prompts,
            device=settings.device,
        )
    return records


@torch.no_grad()
def _read(engine: negkernel.Engine, some: list[Prompt]) -> Any:
    """Probabilities [P, K] of the labels from plain forwards with last-position logits."""
    tokens = [engine.tokenizer(prompt.text)["input_ids"] for prompt in some]
    labels = [engine.tokenizer(f" {label}")["input_ids"][-1] for label in some[0].labels]
    order = sorted(range(len(some)), key=lambda i: len(tokens[i]))
    probability = torch.empty(len(some), len(labels))
    for start in range(0, len(order), BATCH):
        rows = order[start : start + BATCH]
        longest = max(len(tokens[i]) for i in rows)
        padded = torch.zeros(len(rows), longest, dtype=torch.int64)
        mask = torch.zeros_like(padded)
        for row, i in enumerate(rows):
            padded[row, longest - len(tokens[i]) :] = torch.tensor(tokens[i])
            mask[row, longest - len(tokens[i]) :] = 1
        device = engine.model.device
        logits = engine.model(
            input_ids=padded.to(device),
            attention_mask=mask.to(device),
            position_ids=(mask.cumsum(1) - 1).clamp(min=0).to(device),
            logits_to_keep=1,
            use_cache=False,
        ).logits[:, -1]
        probability[rows] = logits.softmax(-1)[:, labels].cpu()
    return probability.numpy()


def _tokenizer(texts: list[str], vocabulary: int) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = BpeTrainer(vocab_size=vocabulary, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator([f"{text} yes {text} no" for text in texts], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def _small() -> Dataset:
    """Sentence pairs of our own, for a quick check without the benchmark's files."""
    rows = [
        Row({"sentence1": f"red {i} blue", "sentence2": f"blue {i} red", "label": i % 2}, i % 2)
        for i in range(40)
    ]
    return Dataset(find("paws"), "clean", Split(rows[:20]), Split(rows[20:30]), Split(rows[30:]))
