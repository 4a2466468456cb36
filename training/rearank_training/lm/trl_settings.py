"""The settings of TRL that imitation and reinforcement share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from transformers import TrainingArguments

from rearank_agent.errors import InputError

__all__ = ["accumulation_steps", "adapters", "common_settings", "several_gpus"]

# transformers renamed it in 5.23; vLLM 0.32 needs a version before 5.20
_CHECKPOINTING = next(
    name
    for name in ("activation_checkpointing", "gradient_checkpointing")
    if name in TrainingArguments.__dataclass_fields__
)


def common_settings(out: Path, seed: int, device: str, report_to: str = "none") -> dict[str, Any]:
    """The settings of TRL that both phases share."""
    return {
        "output_dir": str(out),
        "use_cpu": device == "cpu",
        "bf16": device == "cuda",
        _CHECKPOINTING: device == "cuda",
        "report_to": report_to,
        "disable_tqdm": True,
        "logging_nan_inf_filter": False,  # a loss that is NaN must be reported
        "save_strategy": "no",  # an evaluation saves
        "save_total_limit": 2,
        "seed": seed,
        "data_seed": seed,
    }


def accumulation_steps(replies: int, at_once: int) -> int:
    """The forward and backward passes of each process per update.

    Args:
        replies: per update, of all processes together.
        at_once: replies of a pass.

    Raises:
        InputError: the replies cannot be divided evenly.
    """
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    passes, rest = divmod(replies, at_once * processes)
    if rest or not passes:
        raise InputError(
            f"an update learns from {replies} replies, which {processes} processes cannot take "
            f"{at_once} at a time: change --at-once"
        )
    return passes


def several_gpus(device: str) -> bool:
    """Whether this is one of several processes on GPUs."""
    return device == "cuda" and int(os.environ.get("WORLD_SIZE", "1")) > 1


def adapters(rank: int) -> Any:
    """LoRA adapters of this rank on all linear layers; None for rank 0."""
    if not rank:
        return None
    from peft import LoraConfig

    return LoraConfig(
        r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM"
    )
