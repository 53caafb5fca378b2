"""Know which processes were started together: by torchrun, MPI or Slurm's srun."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

import psutil

# What launchers tell a process: its number, and how many there are. Slurm tells the second only
# to steps: a batch script is one process, however many tasks its job has.
_TOLD = (
    ("RANK", "WORLD_SIZE"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("PMI_RANK", "PMI_SIZE"),
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),
)
SLACK = 5.0  # seconds by which clocks of nodes may differ


@dataclass(frozen=True)
class Group:
    """A process among those that were started with it.

    Attributes
    ----------
    rank, size : int
        Which of how many.
    since : float
        When they were started, seconds since the epoch.
    """

    rank: int
    size: int
    since: float

    @classmethod
    def here(cls, environment: Mapping[str, str] | None = None) -> Group | None:
        """Return the group that a launcher has put this process in, None where it is alone."""
        told = os.environ if environment is None else environment
        for rank, size in _TOLD:
            if told.get(rank, "").isdecimal() and told.get(size, "").isdecimal():
                if int(told[size]) < 2:
                    return None
                # The launcher, or its daemon on this node, lives as long as the launch does.
                began = psutil.Process(os.getppid()).create_time()
                return cls(int(told[rank]), int(told[size]), began - SLACK)
        return None
