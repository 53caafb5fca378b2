"""Long computations in pieces: how a job is cut, and how its results are put together again.

What a shard contains, and so the shape of every matrix product in it, depends on the job alone and
not on who computes it or when it was interrupted: a resumed run, or one that several processes
share (:mod:`negkernel.results.ledger`), ends with the same bits as one that was left in peace.
"""

from neurgrad.runs.join import join
from neurgrad.runs.shards import Shard, rows_per_shard, split

__all__ = ["Shard", "join", "rows_per_shard", "split"]
