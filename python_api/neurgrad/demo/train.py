"""Train an embedded model: ``python -m neurgrad.demo.train causal|masked [--output DIR]``.

Prints the share of facts recalled in training and held-out phrasings, the seconds it took and the
SHA-256 of the weights. On one type of processor the weights repeat bit for bit: the seed, the
number of threads and the order of the examples are fixed here.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional
from transformers import BertConfig, BertForMaskedLM, LlamaConfig, LlamaForCausalLM

from neurgrad.demo import recall
from neurgrad.demo.facts import MASK, Kind, prompts
from neurgrad.demo.vocabulary import causal_tokenizer, masked_tokenizer

SEED = 0
WARMUP = 100
WEIGHT_DECAY = 0.1
# Keeps probabilities near 0.9 instead of 0.999, so that a shifted neuron shows.
LABEL_SMOOTHING = 0.1
# The causal residual stream starts large beside one neuron, so that +-2 is a small step, as in
# models of ordinary size.
EMBEDDING_GAIN = 8.0
# The masked one gets larger activations with smaller weights behind them, to the same end.
NEURON_GAIN = 2.0


@dataclass(frozen=True)
class Recipe:
    """How long and how fast one kind of model is trained.

    Attributes
    ----------
    steps, batch
        Updates, and sentences in each.
    learning_rate
        Its peak, after the warm-up.
    threads
        Part of the recipe because it decides the order of floating-point sums.
    """

    steps: int
    batch: int
    learning_rate: float
    threads: int


RECIPES: dict[Kind, Recipe] = {
    "causal": Recipe(steps=500, batch=64, learning_rate=3e-3, threads=2),
    "masked": Recipe(steps=3200, batch=32, learning_rate=8e-4, threads=1),
}


def corpus(kind: Kind) -> list[str]:
    """Return the texts whose words the tokenizer knows: every prompt and every answer."""
    frame = prompts(kind)
    return [text.replace(MASK, "") for text in [*frame["prompt"], *frame["answer"].unique()]]


def build(kind: Kind, texts: list[str]) -> tuple[Any, Any]:
    """Return an untrained model and its tokenizer."""
    if kind == "causal":
        tokenizer = causal_tokenizer(texts)
        llama = LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=128,
            intermediate_size=256,
            num_hidden_layers=5,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=64,
            tie_word_embeddings=False,
            initializer_range=0.09,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        model = LlamaForCausalLM(llama)
        with torch.no_grad():
            model.get_input_embeddings().weight.mul_(EMBEDDING_GAIN)
        return model, tokenizer
    tokenizer = masked_tokenizer(texts)
    bert = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=96,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        max_position_embeddings=64,
        type_vocab_size=1,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        initializer_range=0.12,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = BertForMaskedLM(bert)
    with torch.no_grad():
        for layer in model.bert.encoder.layer:
            layer.intermediate.dense.weight.mul_(NEURON_GAIN)
            layer.output.dense.weight.div_(NEURON_GAIN)
    return model, tokenizer


def examples(
    kind: Kind, tokenizer: Any, split: str = "train"
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return ``input_ids``, ``attention_mask`` and ``labels``, each int64 ``[P, S]``.

    A causal model learns every token of the finished sentence, a masked one the token that the
    mask hides; -100 in `labels` marks the rest.
    """
    frame = prompts(kind)
    frame = frame[frame["split"] == split]
    if kind == "masked":
        input_ids, attention_mask, probed, answer = recall.encode(tokenizer, frame)
        labels = torch.full_like(input_ids, -100)
        return input_ids, attention_mask, labels.scatter(1, probed[:, None], answer[:, None])
    sentences = frame["prompt"] + " " + frame["answer"] + "." + tokenizer.eos_token
    encoding = tokenizer(sentences.tolist(), padding=True, return_tensors="pt")
    input_ids, attention_mask = encoding["input_ids"], encoding["attention_mask"]
    return input_ids, attention_mask, input_ids.masked_fill(attention_mask == 0, -100)


def loss(model: Any, kind: Kind, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """Return the label-smoothed cross-entropy of a batch, a scalar in nats."""
    input_ids, attention_mask, labels = batch
    logits = model(input_ids=input_ids, attention_mask=attention_mask).logits
    if kind == "causal":
        logits, labels = logits[:, :-1], labels[:, 1:]
    kept = labels != -100
    return functional.cross_entropy(logits[kept], labels[kept], label_smoothing=LABEL_SMOOTHING)


def fit(model: Any, kind: Kind, data: tuple[torch.Tensor, ...]) -> None:
    """Train in place with AdamW, a linear warm-up and a cosine decay of the learning rate."""
    recipe = RECIPES[kind]
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.98), weight_decay=WEIGHT_DECAY
    )
    schedule = torch.optim.lr_scheduler.SequentialLR(
        optimizer,
        [
            torch.optim.lr_scheduler.LinearLR(optimizer, 1 / WARMUP, total_iters=WARMUP),
            torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, recipe.steps - WARMUP),
        ],
        milestones=[WARMUP],
    )
    model.train()
    epochs = recipe.steps * recipe.batch // len(data[0]) + 1
    order = torch.cat([torch.randperm(len(data[0])) for _ in range(epochs)])
    for step in range(recipe.steps):
        rows = order[step * recipe.batch : (step + 1) * recipe.batch]
        # Only as wide as the batch's longest sentence.
        width = int(data[1][rows].sum(1).max())
        batch = tuple(tensor[rows, :width] for tensor in data)
        value = loss(model, kind, batch)
        optimizer.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 0 or step == recipe.steps - 1:
            print(f"step {step:5d}  loss {value.item():.4f}", flush=True)
    model.eval()


def train(kind: Kind, output: Path) -> None:
    """Train one model, save it as a Hugging Face model folder and print what it knows."""
    began = time.perf_counter()
    torch.set_num_threads(RECIPES[kind].threads)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(SEED)
    model, tokenizer = build(kind, corpus(kind))
    fit(model, kind, examples(kind, tokenizer))
    model.save_pretrained(output)
    tokenizer.save_pretrained(output)
    frame = prompts(kind)
    shares = recall.recalled(recall.answer_probabilities(model, tokenizer, frame), frame)
    weights = (output / "model.safetensors").read_bytes()
    print(f"parameters            {model.num_parameters():,}")
    for split, share in shares.items():
        print(f"recalled, {split:9s}   {share:.2%}")
    print(f"seconds               {time.perf_counter() - began:.0f}")
    print(f"SHA-256 of weights    {hashlib.sha256(weights).hexdigest()}")


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("kind", choices=["causal", "masked"])
    parser.add_argument("--output", type=Path, help="model folder (default: the package's own)")
    arguments = parser.parse_args()
    default = Path(__file__).parent / "data" / arguments.kind
    train(arguments.kind, arguments.output or default)


if __name__ == "__main__":
    main()
