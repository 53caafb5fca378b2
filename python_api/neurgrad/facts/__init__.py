"""Choose prompts that a model answers: read facts, put them into words, score the answers."""

from neurgrad.facts.known import Known, keep_known, score
from neurgrad.facts.tables import Fact, facts_of, word

__all__ = ["Fact", "Known", "facts_of", "keep_known", "score", "word"]
