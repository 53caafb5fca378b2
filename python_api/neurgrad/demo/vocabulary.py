"""Tokenizers of the embedded models: every word of their corpus is one token.

Both fall back to single characters for other words, so any ASCII text can be given to the models.
They are written down rather than learned: the corpus is small and its words are known, and a
tokenizer without training is the same on every machine.
"""

from __future__ import annotations

import string
from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import Unigram, WordPiece
from transformers import PreTrainedTokenizerFast

_CHARACTERS = list(string.digits + string.ascii_letters + string.punctuation)
_WORD_START = "▁"


def words(texts: Iterable[str]) -> list[str]:
    """Return the distinct words of `texts` in sorted order, without punctuation."""
    splitter = pre_tokenizers.BertPreTokenizer()
    found = {word for text in texts for word, _ in splitter.pre_tokenize_str(text)}
    return sorted(found - set(_CHARACTERS))


def causal_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """Build the Llama-style tokenizer: a word carries the mark of the space before it.

    ``prompt + " " + answer`` is the prompt's tokens and one more, and encoding puts ``<s>`` first
    exactly once.
    """
    special = ["<unk>", "<s>", "</s>"]
    starts = [_WORD_START + word for word in [*string.digits, *string.ascii_letters, *words(texts)]]
    pieces = [*special, _WORD_START, "\n", *_CHARACTERS, *starts]
    # All scores are equal, so the segmentation with the fewest pieces wins: whole words.
    tokenizer = Tokenizer(Unigram([(piece, -1.0) for piece in pieces], unk_id=0))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(_WORD_START, prepend_scheme="first")
    tokenizer.decoder = decoders.Metaspace(_WORD_START, prepend_scheme="first")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="</s>",
        model_max_length=64,
        clean_up_tokenization_spaces=False,
    )


def masked_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """Build the BERT-style tokenizer: cased words, punctuation apart, ``[CLS]`` and ``[SEP]``."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    within = ["##" + character for character in string.digits + string.ascii_letters]
    pieces = [*special, *_CHARACTERS, *within, *words(texts)]
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=64,
    )
