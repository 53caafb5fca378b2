"""How Hugging Face models look to the engine: one small file a family, and a registry."""

from negkernel.families import bert as bert
from negkernel.families import distilbert as distilbert
from negkernel.families import falcon as falcon
from negkernel.families import gemma as gemma
from negkernel.families import gpt2 as gpt2
from negkernel.families import gpt_neo as gpt_neo
from negkernel.families import gpt_neox as gpt_neox
from negkernel.families import gptj as gptj
from negkernel.families import granite as granite
from negkernel.families import llama as llama
from negkernel.families import modernbert as modernbert
from negkernel.families import olmo as olmo
from negkernel.families import opt as opt
from negkernel.families import phi as phi
from negkernel.families import phi3 as phi3
from negkernel.families import stablelm as stablelm
from negkernel.families.parts import Description, Precision
from negkernel.families.registry import describe, register, registered

__all__ = ["Description", "Precision", "describe", "register", "registered"]
