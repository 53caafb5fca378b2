"""How a job is cut into shards, from its sizes alone."""

from __future__ import annotations

from dataclasses import dataclass

MOST_PROMPTS = 16
FLOPS = 4e13  # of a shard: seconds on a GPU, minutes on a laptop
LEAST_ROWS, MOST_ROWS = 1024, 16384


@dataclass(frozen=True)
class Shard:
    """Prompts ``prompts[0]:prompts[1]`` and, of each, neurons ``neurons[0]:neurons[1]``."""

    prompts: tuple[int, int]
    neurons: tuple[int, int]

    @property
    def name(self) -> str:
        """What the shard is called in the run's folder."""
        (p, q), (m, n) = self.prompts, self.neurons
        return f"prompts-{p}-{q}-neurons-{m}-{n}"

    @property
    def pairs(self) -> int:
        """(prompt, neuron) pairs."""
        return (self.prompts[1] - self.prompts[0]) * (self.neurons[1] - self.neurons[0])


def rows_per_shard(parameters: int) -> int:
    """Rows that lose little when a shard is interrupted and still fill the engine's batches.

    Parameters
    ----------
    parameters : int
        Of the model; a row costs two FLOPs for each.
    """
    return int(min(MOST_ROWS, max(LEAST_ROWS, FLOPS / (2 * parameters))))


def split(P: int, N: int, rows_per_pair: int, most_rows: int) -> list[Shard]:
    """Cut P prompts x N neurons into shards of about `most_rows` rows.

    Parameters
    ----------
    P, N : int
        Prompts, and neurons of each.
    rows_per_pair : int
        Rows of one prompt and neuron: the number of shifts.
    most_rows : int
        A shard has more only where a single (prompt, neuron) pair does.

    Returns
    -------
    list of Shard
        Prompts outermost; whole prompts while they fit, blocks of neurons of one prompt otherwise.
    """
    pairs = max(1, most_rows // rows_per_pair)
    p_step = min(MOST_PROMPTS, max(1, pairs // N))
    n_step = N if pairs >= N else pairs
    return [
        Shard((p, min(p + p_step, P)), (n, min(n + n_step, N)))
        for p in range(0, P, p_step)
        for n in range(0, N, n_step)
    ]
