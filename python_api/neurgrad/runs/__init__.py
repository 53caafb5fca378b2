"""Long computations in pieces: kept as they finish, stopped at any moment, taken up again.

A `Run` is a folder with a manifest and one file a finished shard. What a shard contains, and so
the shape of every matrix product in it, depends on the job alone and not on when it was
interrupted: a resumed run ends with the same bits as one that was left in peace.
"""

from neurgrad.runs.join import join
from neurgrad.runs.run import Run, RunError, read_manifest, remove
from neurgrad.runs.shards import Shard, rows_per_shard, split

__all__ = ["Run", "RunError", "Shard", "join", "read_manifest", "remove", "rows_per_shard", "split"]
