"""How masked Hugging Face models look to the engine: one small file a family, and a registry."""

from negkernel.masked.families import bert as bert
from negkernel.masked.families import distilbert as distilbert
from negkernel.masked.families import modernbert as modernbert
from negkernel.masked.families.registry import describe, register, registered

__all__ = ["describe", "register", "registered"]
