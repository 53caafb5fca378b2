"""MCEval8K, a benchmark of 22 multiple-choice tasks, with splits that do not leak.

``load`` reads a task (`tasks`, `source`, `repair`, `resplit`), ``report`` counts what its splits
share (`overlap`).
"""

from neurgrad.mceval8k.load import Dataset, load
from neurgrad.mceval8k.overlap import overlaps, report
from neurgrad.mceval8k.record import Record, Split
from neurgrad.mceval8k.source import HUB, ROOT_VARIABLE
from neurgrad.mceval8k.task import LANGUAGES, Part, Task
from neurgrad.mceval8k.tasks import TASKS, find

__all__ = [
    "HUB",
    "LANGUAGES",
    "ROOT_VARIABLE",
    "TASKS",
    "Dataset",
    "Part",
    "Record",
    "Split",
    "Task",
    "find",
    "load",
    "overlaps",
    "report",
]
