"""How Hugging Face models look to the engine: one small file a family, and a registry."""

from negkernel.families import llama as llama
from negkernel.families.parts import Decoder, Precision
from negkernel.families.registry import describe, register, registered

__all__ = ["Decoder", "Precision", "describe", "register", "registered"]
