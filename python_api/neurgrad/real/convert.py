"""Convert what the packages hold into ordinary Hugging Face folders in float32."""

from __future__ import annotations

from pathlib import Path


def convert_smollm2(payload: Path, folder: Path) -> None:
    """Write the weights of ``payload``'s GGUF file, dequantized, and its tokenizer."""
    import torch

    from negkernel.model.loading import load

    (file,) = payload.glob("*.gguf")
    model, tokenizer = load(
        str(payload),
        dtype=torch.float32,
        device=None,
        task="causal",
        options={"gguf_file": file.name},
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def convert_antiberty(payload: Path, folder: Path) -> None:
    """Write AntiBERTy without its classification heads: what is left is a plain masked BERT.

    Raises
    ------
    ValueError
        The file does not hold a masked BERT.
    """
    from transformers import BertForMaskedLM, BertTokenizer

    model, found = BertForMaskedLM.from_pretrained(payload, output_loading_info=True)
    if lacking := found["missing_keys"]:
        raise ValueError(f"the weights of AntiBERTy lack {', '.join(sorted(lacking))}")
    model.config.name_or_path = ""  # a folder of its author's
    model.save_pretrained(folder)
    limit = model.config.max_position_embeddings
    tokenizer = BertTokenizer(
        vocab=str(payload / "vocab.txt"), do_lower_case=False, model_max_length=limit
    )
    tokenizer.save_pretrained(folder)
