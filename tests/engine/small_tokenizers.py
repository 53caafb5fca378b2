"""Real tokenizers in miniature, of the two kinds that causal language models use."""

from __future__ import annotations

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedTokenizerFast

TEXT = [
    "The capital of France is Paris. The capital of Italy is Rome.",
    "Question: What is the capital of Japan? Answer: Tokyo",
    "Paris, Rome and Tokyo are capitals; France, Italy and Japan are countries.",
    "Q: France A:Paris\nQ: Italy A:Rome\nParis\nRome\nTokyo\n",
] * 4


def byte_level(*, eos: bool = False) -> PreTrainedTokenizerFast:
    """Byte-level BPE as in Llama 3: a space belongs to the word after it; BOS in front.

    With ``eos`` it also appends an end token, as a few tokenizers do.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        TEXT,
        BpeTrainer(
            vocab_size=420,
            special_tokens=["<s>", "</s>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return _finish(tokenizer, eos)


def sentence_piece_like() -> PreTrainedTokenizerFast:
    """As in Llama 2: every text starts with a space mark, unknown characters become bytes."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Split("\u2581", "merged_with_next")
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("\u2581", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    byte_tokens = [f"<0x{byte:02X}>" for byte in range(256)]
    tokenizer.train_from_iterator(
        TEXT,
        BpeTrainer(
            vocab_size=420,
            special_tokens=["<unk>", "<s>", "</s>", *byte_tokens],
            show_progress=False,
        ),
    )
    return _finish(tokenizer, eos=False)


def _finish(tokenizer: Tokenizer, eos: bool) -> PreTrainedTokenizerFast:
    special = [(token, tokenizer.token_to_id(token)) for token in ("<s>", "</s>")]
    end = " </s>" if eos else ""
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"<s> $A{end}", pair=f"<s> $A $B{end}", special_tokens=special
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token=None
    )
