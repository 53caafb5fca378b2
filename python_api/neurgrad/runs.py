"""Cut a long computation into pieces and put its results together again.

So work the command line and an engine's calls with ``folder=``, see
:mod:`negkernel.results.shards`.
"""

from negkernel.results.join import join
from negkernel.results.shards import Shard, rows_per_shard, split

__all__ = ["Shard", "join", "rows_per_shard", "split"]
