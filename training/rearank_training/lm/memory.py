"""The most memory that this process has used."""

from __future__ import annotations

import resource
import sys

import torch

__all__ = ["peak_memory"]


def peak_memory() -> dict[str, float]:
    """The peak in GB: of main memory, and where there is a GPU of what torch took there."""
    unit = 1 if sys.platform == "darwin" else 1024  # Linux counts in KiB
    peak = {"memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9}
    if torch.cuda.is_available():
        peak["GPU memory"] = torch.cuda.max_memory_allocated() / 1e9
    return peak
