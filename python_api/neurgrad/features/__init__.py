"""Gradient features of labelled prompts, reduced to what the skill-neuron probes read.

============ =====================================================================
PackedScores score orders in memory, one byte a prompt and neuron (`packed`, `orders`)
collect      a task's features, streamed into a folder that survives a kill (`collection`)
FeatureStore that folder: score orders, gold labels, label probabilities (`store`)
LiveScores   nothing kept: the model is read again on each pass (`live`)
============ =====================================================================
"""

from neurgrad.features.batches import Features, stream
from neurgrad.features.collection import collect, collect_prompts, task_prompts
from neurgrad.features.live import LiveScores
from neurgrad.features.packed import OrderStore, PackedScores, Ties, join
from neurgrad.features.store import FeatureStore

__all__ = [
    "FeatureStore",
    "Features",
    "LiveScores",
    "OrderStore",
    "PackedScores",
    "Ties",
    "collect",
    "collect_prompts",
    "join",
    "stream",
    "task_prompts",
]
