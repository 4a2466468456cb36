"""The settings of TRL that imitation and reinforcement share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import TrainingArguments

from rearank_agent.errors import InputError
from rearank_training.lm.processes import process_count
from rearank_training.lm.settings import GRPOSettings, SFTSettings

__all__ = ["accumulation_steps", "adapters", "common_settings", "weights_type"]

# transformers renamed it in 5.23; vLLM 0.32 needs a version before 5.20
_CHECKPOINTING = next(
    name
    for name in ("activation_checkpointing", "gradient_checkpointing")
    if name in TrainingArguments.__dataclass_fields__
)

_TIMEOUT = 3 * 60 * 60
"""Seconds that processes wait for one another: the first writes the model, or draws the curves."""


def in_bfloat16(recipe: SFTSettings | GRPOSettings, device: str) -> bool:
    """Whether a run on a device, cpu or cuda, computes in bfloat16."""
    return recipe.dtype == "bfloat16" or (recipe.dtype == "auto" and device == "cuda")


def weights_type(recipe: SFTSettings | GRPOSettings, device: str) -> str:
    """What a model is loaded as: float32 where it is trained; where it is frozen, less."""
    if recipe.qlora:
        return "4bit"
    return "bfloat16" if recipe.lora and in_bfloat16(recipe, device) else "float32"


def common_settings(out: Path, recipe: SFTSettings | GRPOSettings, device: str) -> dict[str, Any]:
    """The settings of TRL that both phases share."""
    return {
        "output_dir": str(out),
        "use_cpu": device == "cpu",
        "bf16": in_bfloat16(recipe, device),
        _CHECKPOINTING: device == "cuda",
        "report_to": recipe.report_to,
        "disable_tqdm": True,
        "logging_nan_inf_filter": False,  # a loss that is NaN must be reported
        "save_strategy": "no",  # an evaluation saves
        "save_total_limit": 2,
        "ddp_timeout": _TIMEOUT,
        "seed": recipe.seed,
        "data_seed": recipe.seed,
    }


def accumulation_steps(replies: int, at_once: int, processes: int | None = None) -> int:
    """The forward and backward passes of each process per update.

    Args:
        replies: per update, of all processes together.
        at_once: replies of a pass.
        processes: that train together; None for those of this run.

    Raises:
        InputError: the replies cannot be divided evenly.
    """
    processes = processes or process_count()
    passes, rest = divmod(replies, at_once * processes)
    if rest or not passes:
        raise InputError(
            f"an update learns from {replies} replies, which {processes} processes cannot take "
            f"{at_once} at a time: change --at-once"
        )
    return passes


def adapters(rank: int) -> Any:
    """LoRA adapters of this rank on all linear layers; None for rank 0."""
    if not rank:
        return None
    from peft import LoraConfig

    return LoraConfig(
        r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM"
    )
