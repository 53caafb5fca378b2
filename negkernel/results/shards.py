"""Cut a job into shards, from its sizes alone.

What a shard contains, and so the shape of every matrix product in it, depends on the job and not
on who computes it or when it was interrupted: a resumed run, or one that several processes share
(:mod:`negkernel.results.ledger`), ends with the same bits as one that was left in peace.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MOST_PROMPTS = 16
MOST_BYTES = 1 << 28  # of a shard's results
FLOPS = 4e13  # of a shard: seconds on a GPU, minutes on a laptop
LEAST_ROWS, MOST_ROWS = 1024, 16384

_NUMBER = r"(\d{1,12})"
_NAME = re.compile(f"prompts-{_NUMBER}-{_NUMBER}(?:-(neurons|layers)-{_NUMBER}-{_NUMBER})?")


@dataclass(frozen=True)
class Shard:
    """Prompts ``prompts[0]:prompts[1]`` and, of each, ``neurons[0]:neurons[1]`` of a list.

    A shard of a map has ``layers`` in their place; where there is neither, it has everything.
    """

    prompts: tuple[int, int]
    neurons: tuple[int, int] | None = None
    layers: tuple[int, int] | None = None

    @property
    def name(self) -> str:
        """What the shard is called in the run's folder."""
        own = [(name, *ends) for name, ends in vars(self).items() if ends is not None]
        return "-".join(str(word) for words in own for word in words)

    @classmethod
    def named(cls, name: str) -> Shard | None:
        """Return the shard that is called so, None where no shard is."""
        found = _NAME.fullmatch(name)
        if found is None:
            return None
        p, q, along, m, n = found.groups()
        own = {} if along is None else {along: (int(m), int(n))}
        return cls((int(p), int(q)), **own)

    @property
    def pairs(self) -> int:
        """Pairs of prompt and neuron, or of prompt and layer; prompts where it has everything."""
        first, last = self.neurons or self.layers or (0, 1)
        return (self.prompts[1] - self.prompts[0]) * (last - first)


def rows_per_shard(parameters: int) -> int:
    """Rows that lose little when a shard is interrupted and still fill the engine's batches.

    Parameters
    ----------
    parameters : int
        Of the model; a row costs two FLOPs for each.
    """
    return int(min(MOST_ROWS, max(LEAST_ROWS, FLOPS / (2 * parameters))))


def split(
    P: int, N: int, rows_per_pair: int, most_rows: int, *, bytes_per_pair: int = 1
) -> list[Shard]:
    """Cut P prompts x N neurons into shards of about `most_rows` rows.

    Parameters
    ----------
    P, N : int
        Prompts, and neurons of each.
    rows_per_pair : int
        Rows of one prompt and neuron: the number of shifts.
    most_rows : int
        A shard has more only where a single (prompt, neuron) pair does.
    bytes_per_pair : int
        Of the results of one prompt and neuron, which a shard holds in memory.

    Returns
    -------
    list of Shard
        Prompts outermost; whole prompts while they fit, blocks of neurons of one prompt otherwise.
    """
    pairs = max(1, min(most_rows // rows_per_pair, MOST_BYTES // bytes_per_pair))
    p_step = min(MOST_PROMPTS, max(1, pairs // N))
    n_step = N if pairs >= N else pairs
    return [
        Shard((p, min(p + p_step, P)), (n, min(n + n_step, N)))
        for p in range(0, P, p_step)
        for n in range(0, N, n_step)
    ]


def split_prompts(P: int, bytes_each: int) -> list[Shard]:
    """Cut P prompts into shards whose results, so many bytes a prompt, can be held in memory."""
    step = max(1, min(MOST_PROMPTS, MOST_BYTES // bytes_each))
    return [Shard((p, min(p + step, P))) for p in range(0, P, step)]
