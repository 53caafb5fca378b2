"""Train a small Llama to answer easy tasks of MCEval8K, on a CPU, in minutes.

The embedded models know facts and cannot do these tasks. This one learns them from the clean
training splits alone: a byte-pair tokenizer and a few layers from scratch, with a loss on the
answer's token only.

    python -m bench.skill_model.train --out skill-model --tasks lti agnews imdb --steps 750
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from tokenizers.trainers import BpeTrainer
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from negkernel import Engine
from neurgrad.mceval8k import Prompt, load, prompts

PEAK, WARM_UP, BATCH = 1e-3, 100, 16  # learning rate, steps until it, prompts of a step

Example = tuple[list[int], int]  # prompt tokens, answer token


def train(tasks: list[str], out: Path, *, steps: int, longest: int = 512, seed: int = 0) -> Engine:
    """Train for so many steps, with the learning rate falling to zero, and save the model."""
    torch.manual_seed(seed)
    asked = {task: prompts(load(task)) for task in tasks}
    shown = [prompt for task in tasks for prompt in asked[task].train]
    tokenizer = _tokenizer(shown)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=128,
            intermediate_size=512,
            num_hidden_layers=3,
            num_attention_heads=4,
            max_position_embeddings=2048,
            tie_word_embeddings=True,
        )
    )
    encode = _encoder(tokenizer)
    examples = {
        task: [one for one in map(encode, asked[task].train) if len(one[0]) <= longest]
        for task in tasks
    }
    for task, found in examples.items():
        print(f"{task}: {len(found)} of {len(asked[task].train)} prompts", flush=True)
    _fit(model, list(examples.values()), steps, seed)
    model.eval().save_pretrained(out)
    tokenizer.save_pretrained(out)
    return Engine(model, tokenizer)


def _tokenizer(shown: list[Prompt]) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = BpeTrainer(vocab_size=8192, initial_alphabet=alphabet, show_progress=False)
    answered = [f"{prompt.text} {label}" for prompt in shown for label in prompt.labels]
    tokenizer.train_from_iterator(answered, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def _encoder(tokenizer: PreTrainedTokenizerFast) -> Callable[[Prompt], Example]:
    def encode(prompt: Prompt) -> Example:
        # The engine, too, asks for the answer behind a space.
        *tokens, answer = tokenizer(f"{prompt.text} {prompt.answer}")["input_ids"]
        return tokens, answer

    return encode


def _fit(model: LlamaForCausalLM, examples: list[list[Example]], steps: int, seed: int) -> None:
    rng = random.Random(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK, weight_decay=0.01)
    start, mean = time.monotonic(), 0.0
    some: list[Example] = []
    for step in range(steps):
        if not some:
            # Tasks of any size take turns; prompts of like length go together: little padding.
            some = [rng.choice(examples[i % len(examples)]) for i in range(4 * BATCH)]
            some.sort(key=lambda one: len(one[0]))
        batch, some = some[:BATCH], some[BATCH:]
        for group in optimizer.param_groups:
            group["lr"] = PEAK * min(1.0, (step + 1) / WARM_UP) * (1 - step / steps)
        loss = _loss(model, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        mean += (loss.item() - mean) / min(step + 1, 100)
        if (step + 1) % 100 == 0:
            seconds = time.monotonic() - start
            print(f"step {step + 1}, {seconds:.0f} s, loss {mean:.3f}", flush=True)


def _loss(model: LlamaForCausalLM, batch: list[Example]) -> torch.Tensor:
    """Cross entropy of the answers behind prompts that are padded on the right."""
    length = torch.tensor([len(tokens) for tokens, _ in batch])
    padded = torch.zeros(len(batch), int(length.max()), dtype=torch.int64)
    for row, (tokens, _) in zip(padded, batch, strict=True):
        row[: len(tokens)] = torch.tensor(tokens)
    hidden = model.model(input_ids=padded).last_hidden_state
    logits = model.lm_head(hidden[torch.arange(len(batch)), length - 1])
    return torch.nn.functional.cross_entropy(logits, torch.tensor([answer for _, answer in batch]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tasks", nargs="+", default=["lti", "agnews", "imdb"])
    parser.add_argument("--steps", type=int, default=750)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    train(given.tasks, given.out, steps=given.steps, seed=given.seed)
