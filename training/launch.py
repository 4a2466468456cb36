"""The files that start a run in several processes, by accelerate: one a GPU, or several CPUs."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from rearank_agent.files import write

__all__ = ["launch_files"]

_CONFIG = """\
compute_environment: LOCAL_MACHINE
distributed_type: {kind}
mixed_precision: "{precision}"
num_machines: 1
machine_rank: 0
num_processes: {processes}
use_cpu: {cpu}
"""
_SHARDED = """\
fsdp_config:
  fsdp_version: 2
  fsdp_auto_wrap_policy: TRANSFORMER_BASED_WRAP
  fsdp_reshard_after_forward: true
  fsdp_state_dict_type: FULL_STATE_DICT
  fsdp_cpu_ram_efficient_loading: false
"""


def launch_files(out: Path, processes: int, where: str, arguments: Sequence[str]) -> Path:
    """Write `accelerate.yaml` and `launch.sh`; gives the script.

    On GPUs weights, gradients and optimizer are shared out among the processes (FSDP2).

    Args:
        where: cpu or cuda.
        arguments: of the command line, from `train` on.

    Raises:
        SetupError: the folder cannot be written.
    """
    gpu = where == "cuda"
    kind, precision = ("FSDP", "bf16") if gpu else ("MULTI_CPU", "no")
    told = {"kind": kind, "precision": precision, "processes": processes}
    config = _CONFIG.format(**told, cpu="false" if gpu else "true")
    write(out / "accelerate.yaml", config + (_SHARDED if gpu else ""))
    command = ["accelerate", "launch", "--config_file", str(out / "accelerate.yaml")]
    line = shlex.join([*command, "-m", "rearank_agent", *arguments])
    write(out / "launch.sh", f"#!/usr/bin/env bash\nset -euo pipefail\n{line}\n")
    return out / "launch.sh"
