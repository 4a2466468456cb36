"""Training in several processes: the files that start them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from rearank_agent.cli import console

__all__ = ["wrote_launcher"]


def wrote_launcher(processes: int, device: str, out: Path) -> bool:
    """Write the launch files if several processes are asked for and this is none of them."""
    if processes == 1 or "WORLD_SIZE" in os.environ:
        return False
    from rearank_training.lm.launch import launch_files
    from rearank_training.lm.model import device as device_of

    console.print_line(
        f"start it with: bash {launch_files(out, processes, device_of(device), sys.argv[1:])}"
    )
    return True
