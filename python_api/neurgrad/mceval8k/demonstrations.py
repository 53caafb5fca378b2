"""Which train records are shown, answered, before the question.

The reference draws one record per label and leaves it in the train rows, where its own prompt then
holds its answer, and it always shows the labels in the same order, so that the last label stands
nearest to the question. Here the demonstrations leave the train rows, and their order can be drawn.
"""

from collections.abc import Sequence
from typing import Literal, get_args

from neurgrad.mceval8k.draw import shuffled, unit
from neurgrad.mceval8k.record import Record
from neurgrad.mceval8k.task import Task

Order = Literal["fixed", "shuffled"]


def choose(
    task: Task, train: Sequence[Record], shots: int, *, order: Order = "fixed", seed: int = 42
) -> list[Record]:
    """Draw demonstrations from the train records of one language.

    Parameters
    ----------
    task : Task
        The task.
    train : sequence of Record
        Records to draw from.
    shots : int
        How many. The labels take turns, so K of them are one per label.
    order : {"fixed", "shuffled"}
        Label order, or an order drawn by `seed`.
    seed : int
        Seed of the draw.

    Returns
    -------
    list of Record
        Demonstrations, all different.

    Raises
    ------
    ValueError
        If a label has too few train records.
    """
    if order not in get_args(Order):
        raise ValueError(f"order is {order!r}; expected 'fixed' or 'shuffled'")
    if shots < 0:
        raise ValueError(f"shots is {shots}; expected 0 or more")
    if shots == 0:
        return []
    K = len(task.labels)
    drawn: list[list[Record]] = [[] for _ in range(K)]
    # published train rows repeat records; a demonstration must not
    unique = {record.content: record for record in train}.values()
    ranked = sorted(unique, key=lambda r: unit("demonstration", seed, task.name, r.content))
    for record in ranked:
        drawn[record.label].append(record)
    for k in range(K):
        needed = len(range(k, shots, K))
        if len(drawn[k]) < needed:
            raise ValueError(
                f"task {task.name!r}: {shots} demonstrations need {needed} train records of label "
                f"{task.labels[k]!r} and there are {len(drawn[k])}; ask for fewer shots"
            )
    chosen = [drawn[i % K][i // K] for i in range(shots)]
    return chosen if order == "fixed" else shuffled(chosen, "order", seed, task.name)
