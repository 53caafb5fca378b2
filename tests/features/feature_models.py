"""A small model that reads text, and a small labelled task."""

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from tokenizers.trainers import BpeTrainer
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from negkernel import Engine
from neurgrad.mceval8k import Prompt, Record


def reader(seed=0, layers=2):
    """Return an engine on a random Llama with a byte tokenizer."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    letters = [f" {letter}" for letter in "abcdeABCDE"] * 3
    trainer = BpeTrainer(vocab_size=280, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(letters, trainer)
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        intermediate_size=24,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
    )
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" not in name:
                weight.normal_(std=0.15)
    return Engine(model, PreTrainedTokenizerFast(tokenizer_object=tokenizer))


def asked(n, labels=("a", "b", "c")):
    """Return `n` prompts whose gold labels take turns."""
    return [
        Prompt(
            text=f"### Instruction: choose.\n\n### Text:number {i * 7 % 11}\n### Answer:",
            labels=labels,
            gold=i % len(labels),
            language="en",
            record=Record({"text": f"number {i}"}, i % len(labels)),
            prefix="### Instruction: choose.\n\n",
        )
        for i in range(n)
    ]
