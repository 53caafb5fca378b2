"""MCEval8K, a benchmark of 22 multiple-choice tasks, with splits that do not leak.

========= =================================================================================
load      a task with clean or published splits (`tasks`, `source`, `repair`, `resplit`)
report    what the splits of each task share, clean and published side by side (`overlap`)
prompts   a data set as zero-shot or few-shot prompts (`layout`, `wording`, `contexts`)
construct a task of one's own from raw data (`options`)
========= =================================================================================

>>> data = load("paws", root="MCEval8K")  # doctest: +SKIP
>>> asked = prompts(data, shots=2)  # doctest: +SKIP
>>> asked.test[0].text, asked.test[0].labels, asked.test[0].gold  # doctest: +SKIP
"""

from neurgrad.mceval8k.construct import construct, save
from neurgrad.mceval8k.contexts import PAWS_CONTEXTS, Context
from neurgrad.mceval8k.instructions import PUBLISHED_TERMS
from neurgrad.mceval8k.load import Dataset, load
from neurgrad.mceval8k.options import FrequencyOptions, GivenOptions, OptionRule, YearOptions
from neurgrad.mceval8k.overlap import overlaps, report
from neurgrad.mceval8k.prompting import Prompt, Prompts, prompts
from neurgrad.mceval8k.record import Record, Split
from neurgrad.mceval8k.source import HUB, ROOT_VARIABLE
from neurgrad.mceval8k.task import LANGUAGES, Part, Task, cloze, fixed, listed, plain, quoted
from neurgrad.mceval8k.tasks import TASKS, find
from neurgrad.mceval8k.wording import Wording

__all__ = [
    "HUB",
    "LANGUAGES",
    "PAWS_CONTEXTS",
    "PUBLISHED_TERMS",
    "ROOT_VARIABLE",
    "TASKS",
    "Context",
    "Dataset",
    "FrequencyOptions",
    "GivenOptions",
    "OptionRule",
    "Part",
    "Prompt",
    "Prompts",
    "Record",
    "Split",
    "Task",
    "Wording",
    "YearOptions",
    "cloze",
    "construct",
    "find",
    "fixed",
    "listed",
    "load",
    "overlaps",
    "plain",
    "prompts",
    "quoted",
    "report",
    "save",
]
