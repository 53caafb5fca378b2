"""Hold one labelled prompt: what a model is asked, among which answers, and which is right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from negkernel.arguments import check_index, shown

if TYPE_CHECKING:
    from neurgrad.mceval8k import Record


@dataclass(frozen=True)
class Prompt:
    """One prompt.

    Attributes
    ----------
    text : str
        The whole prompt; what follows it is the answer.
    labels : tuple of str, [K]
        Target strings in label order.
    gold : int
        Index of the gold label.
    language : str
        Language of the prompt.
    record : Record, optional
        Of a benchmark's prompt, the record that is asked about.
    prefix : str
        What all prompts of this language begin with: instruction and demonstrations.

    Raises
    ------
    ValueError, IndexError
        Fewer than two labels, something else than text, or no such label as ``gold``.
    """

    text: str
    labels: tuple[str, ...]
    gold: int
    language: str = "en"
    record: Record | None = None
    prefix: str = ""

    def __post_init__(self) -> None:
        listed = isinstance(self.labels, tuple | list) and len(self.labels) > 1
        if not listed or not all(isinstance(label, str) for label in self.labels):
            raise ValueError(f"labels is {shown(self.labels)}; expected two strings or more")
        if not isinstance(self.text, str) or not self.text.strip():
            raise ValueError(f"text is {shown(self.text)}; expected a prompt's text")
        object.__setattr__(self, "labels", tuple(self.labels))
        object.__setattr__(self, "gold", check_index("gold", self.gold, len(self.labels)))

    @property
    def answer(self) -> str:
        """The gold label's string."""
        return self.labels[self.gold]
