"""The processes of a run, as accelerate, torchrun or a cluster's own launcher starts them."""

from __future__ import annotations

import os

from torch import distributed

__all__ = ["end_group", "is_first_process", "process_count"]


def process_count() -> int:
    """How many processes train together: `WORLD_SIZE`, which all launchers set; else 1."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first_process() -> bool:
    """Whether this is the first of the processes, or the only one."""
    return os.environ.get("RANK", "0") == "0"


def end_group() -> None:
    """End the group of the processes: one that exits while its threads run may be aborted."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()
