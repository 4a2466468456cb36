"""The files that start a run in several processes: accelerate on GPUs, torchrun on CPUs."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from rearank_agent.files import write_text

__all__ = ["launch_files"]

_CONFIG = """\
compute_environment: LOCAL_MACHINE
distributed_type: FSDP
mixed_precision: "no"  # --dtype says it; what stands here would win over it
num_machines: 1
machine_rank: 0
num_processes: {processes}
fsdp_config:
  fsdp_version: 2
  fsdp_auto_wrap_policy: TRANSFORMER_BASED_WRAP
  fsdp_reshard_after_forward: true
  fsdp_state_dict_type: SHARDED_STATE_DICT
  fsdp_cpu_ram_efficient_loading: false
"""


def launch_files(out: Path, processes: int, device: str, arguments: Sequence[str]) -> Path:
    """Write `launch.sh`, and for GPUs `accelerate.yaml`; gives the script.

    On GPUs weights, gradients and optimizer are sharded over the processes (FSDP2), and so are
    they in checkpoints. On CPUs torchrun starts them: accelerate would need MPI. Both are those
    of this interpreter.

    Args:
        device: cpu or cuda.
        arguments: of the command line, from `train` on.

    Raises:
        SetupError: the folder cannot be written.
    """
    config, script = out / "accelerate.yaml", out / "launch.sh"
    command = ["torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    if device == "cuda":
        write_text(config, _CONFIG.format(processes=processes))
        command = ["accelerate.commands.launch", "--config_file", str(config)]
    line = shlex.join([sys.executable, "-m", *command, "-m", "rearank_agent", *arguments])
    here = f"cd {shlex.quote(str(Path.cwd()))}"
    write_text(script, f"#!/usr/bin/env bash\nset -euo pipefail\n{here}\n{line}\n")
    return script
