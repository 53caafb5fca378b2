"""The 12 contexts in which the paper asks the one question of paws (section 6.2, appendix J).

Skill neurons found in one context are tried in another. A context varies the instruction (IT0 has
the labels yes and no, IT1 to IT4 have lettered options), the number of demonstrations, or which
demonstrations they are. Which twelve combinations to take is our choice: five instructions, three
other numbers of demonstrations and four other draws.
"""

from dataclasses import dataclass, replace

from neurgrad.mceval8k.task import Task, fixed
from neurgrad.mceval8k.tasks import TASKS


@dataclass(frozen=True)
class Context:
    """One way of asking a task's question.

    Attributes
    ----------
    name : str
        Name of the context.
    instruction : str
        Key of the instruction in `Wording`.
    shots : int
        Number of demonstrations.
    seed : int
        Seed that draws the demonstrations.
    choices : tuple of str, [K]
        Lettered options that stand for the labels; empty to ask for the task's own labels.
    """

    name: str
    instruction: str = "en"
    shots: int = 2
    seed: int = 42
    choices: tuple[str, ...] = ()

    def apply(self, task: Task) -> Task:
        """Return the task as this context asks it."""
        if not self.choices:
            return task
        letters = tuple("abcdefgh"[: len(self.choices)])
        shown = (*task.question, fixed("Options", *self.choices))
        return replace(task, labels=letters, question=shown)


_CONTEXTS = (
    Context("IT0"),
    Context("IT1", "IT1", choices=("not paraphrase", "paraphrase")),
    Context("IT2", "IT2", choices=("non-equivalent", "equivalent")),
    Context("IT3", "IT3", choices=("different", "similar")),
    Context(
        "IT4",
        "IT4",
        choices=("These two sentences say different things.", "These two sentences say one thing."),
    ),
    Context("0-shot", shots=0),
    Context("4-shot", shots=4),
    Context("8-shot", shots=8),
    *(Context(f"sample{seed}", seed=seed) for seed in (1, 2, 3, 4)),
)

PAWS_CONTEXTS: dict[str, Context] = {context.name: context for context in _CONTEXTS}


def find_context(task: Task, context: str | Context) -> Context:
    """Return a context by its name.

    Raises
    ------
    ValueError
        If the task is not paws or has no such context.
    """
    if isinstance(context, Context):
        return context
    if task.name != TASKS["paws"].name:
        raise ValueError(
            f"contexts are named for paws only, the task is {task.name!r}; pass a Context"
        )
    if context not in PAWS_CONTEXTS:
        raise ValueError(f"paws has no context {context!r}; expected one of {list(PAWS_CONTEXTS)}")
    return PAWS_CONTEXTS[context]
