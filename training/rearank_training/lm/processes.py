"""The processes of a run, as accelerate, torchrun or a cluster's own launcher starts them."""

from __future__ import annotations

import os

__all__ = ["is_first_process", "process_count"]


def process_count() -> int:
    """How many processes train together: `WORLD_SIZE`, which all launchers set; else 1."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first_process() -> bool:
    """Whether this is the first of the processes, or the only one."""
    return os.environ.get("RANK", "0") == "0"
