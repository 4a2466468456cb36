"""Training in several processes: the checks before they start, and the files that start them."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from pathlib import Path

from rearank_agent.cli import console
from rearank_agent.errors import InputError

__all__ = ["wrote_launcher"]


def wrote_launcher(processes: int, device: str, out: Path, check: Callable[[str], object]) -> bool:
    """Write the launch files if several processes are asked for and this is none of them.

    Args:
        processes: asked for; 1 leaves their number to whoever starts them.
        device: auto, cpu or cuda.
        out: the folder of the run.
        check: raises, for a device, where the processes would fail after they have started.

    Raises:
        InputError: another number was started, or one process has several GPUs.
    """
    from rearank_training.lm.launch import launch_files
    from rearank_training.lm.model import device as device_of
    from rearank_training.lm.model import gpu_count
    from rearank_training.lm.processes import process_count

    where, started = device_of(device), process_count()
    if started > 1:
        if processes not in (1, started):
            raise InputError(
                f"{started} processes were started, and --processes asks for {processes}: "
                "leave it out, or give the same number"
            )
        return False
    if processes == 1:
        if where == "cuda" and (count := gpu_count()) > 1:
            line = shlex.join(["rearank-agent", *sys.argv[1:]])
            raise InputError(
                f"{count} GPUs are visible, and one process trains on one. For all of them: "
                f"{line} --processes {count}; for one: CUDA_VISIBLE_DEVICES=0 {line}"
            )
        return False
    check(where)
    script = launch_files(out, processes, where, sys.argv[1:])
    console.print_line(f"start it with: bash {script}")
    return True
