"""The settings of TRL that imitation and reinforcement share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from transformers import TrainingArguments

from rearank_agent.errors import InputError

__all__ = ["accumulation_steps", "adapters", "common_settings", "several_gpus"]

# transformers gave it another name in 5.23; vLLM 0.32 wants one before 5.20
_RECOMPUTED = next(
    name
    for name in ("activation_checkpointing", "gradient_checkpointing")
    if name in TrainingArguments.__dataclass_fields__
)


def common_settings(out: Path, seed: int, where: str) -> dict[str, Any]:
    """The settings of TRL that both phases share."""
    return {
        "output_dir": str(out),
        "use_cpu": where == "cpu",
        "bf16": where == "cuda",
        _RECOMPUTED: where == "cuda",
        "report_to": "none",
        "disable_tqdm": True,
        "logging_nan_inf_filter": False,  # a loss that is no number is to be seen
        "save_strategy": "no",  # a look saves
        "save_total_limit": 2,
        "seed": seed,
        "data_seed": seed,
    }


def accumulation_steps(replies: int, at_once: int) -> int:
    """How many passes of each process an update takes.

    Raises:
        InputError: the replies do not divide so.
    """
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    found, left = divmod(replies, at_once * processes)
    if left or not found:
        raise InputError(
            f"an update learns from {replies} replies, which {processes} processes cannot take "
            f"{at_once} at a time: change --at-once"
        )
    return found


def several_gpus(where: str) -> bool:
    """Whether this is one of several processes on GPUs."""
    return where == "cuda" and int(os.environ.get("WORLD_SIZE", "1")) > 1


def adapters(rank: int) -> Any:
    """Adapters of a rank on all linear layers; None for none."""
    if not rank:
        return None
    from peft import LoraConfig

    return LoraConfig(
        r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM"
    )
