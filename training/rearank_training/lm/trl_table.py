"""Settings that are handed to TRL as they are: the `[grpo.trl]` table of a recipe, and `--trl`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from difflib import get_close_matches
from typing import Any, TypeVar

from rearank_agent.errors import InputError

__all__ = ["check_trl", "read_pairs", "trl_config", "write_pairs"]

_OURS = {
    "--out": ("output_dir", "overwrite_output_dir"),
    "--seed": ("seed", "data_seed"),
    "--device": ("use_cpu",),
    "--dtype": ("bf16", "fp16"),
    "--report-to": ("report_to",),
    "--resume": ("resume_from_checkpoint", "ignore_data_skip"),
    "--every": (
        "save_strategy", "save_steps", "save_only_model", "eval_strategy", "eval_steps",
        "eval_on_start", "logging_strategy", "logging_steps",
    ),
    "--patience": ("load_best_model_at_end", "metric_for_best_model", "greater_is_better"),
    "--steps": ("max_steps", "num_train_epochs"),
    "--rate": ("learning_rate",),
    "--at-once": ("per_device_train_batch_size", "auto_find_batch_size"),
    "--batch, or --prompts, --updates and --at-once": ("gradient_accumulation_steps",),
    "--updates": ("steps_per_generation", "generation_batch_size"),
    "--rollouts": ("num_generations",),
    "--budget": ("max_completion_length",),
    "--prompt-tokens": ("max_length", "truncation_mode", "vllm_max_model_length"),
    "--think": ("chat_template_kwargs",),
    "--kl": ("beta",),
    "--clip": ("epsilon",),
    "--temperature": ("temperature",),
    "--reward": ("reward_weights",),
    "--vllm": ("use_vllm", "vllm_enable_sleep_mode"),
    "--vllm-memory": ("vllm_gpu_memory_utilization",),
    "--vllm-server": (
        "vllm_mode", "vllm_server_base_url", "vllm_server_host", "vllm_server_port",
    ),
    "--correction": ("vllm_importance_sampling_correction", "vllm_importance_sampling_mode"),
    "train push": (
        "push_to_hub", "hub_token", "hub_model_id", "hub_strategy", "hub_private_repo",
        "hub_always_push", "hub_revision",
    ),
    "nothing: the prompt and the loss are those of serving": (
        "completion_only_loss", "assistant_only_loss", "packing", "padding_free", "eval_packing",
        "chat_template_path", "eos_token", "pad_token", "dataset_text_field", "dataset_kwargs",
        "remove_unused_columns", "logging_nan_inf_filter", "disable_tqdm",
        "vllm_structured_outputs_regex", "generation_kwargs",
    ),
}  # fmt: skip
"""What is used instead of a setting: what is logged, resumed and served depends on it."""

_T = TypeVar("_T")


def read_pairs(pairs: Iterable[str]) -> dict[str, Any]:
    """Settings written as NAME=VALUE, the last of a name; a value is JSON, else a string.

    Raises:
        InputError: one has no name, or no `=`.
    """
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not (name and equals):
            raise InputError(f"a setting of TRL is written NAME=VALUE, not {pair!r:.80}")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def write_pairs(settings: Mapping[str, Any]) -> list[str]:
    """Settings as NAME=VALUE, the value as JSON."""
    return [f"{name}={json.dumps(value, default=str)}" for name, value in settings.items()]


def check_trl(phase: str, pairs: Sequence[str]) -> None:
    """Raise InputError for settings that TRL does not have, or that have an option of ours.

    Args:
        phase: sft or grpo.
        pairs: NAME=VALUE.
    """
    if not pairs:
        return
    from trl.trainer.grpo_config import GRPOConfig
    from trl.trainer.sft_config import SFTConfig

    given, kind = read_pairs(pairs), GRPOConfig if phase == "grpo" else SFTConfig
    known = [field.name for field in fields(kind) if field.init]
    for name in given:
        for instead, names in _OURS.items():
            if name in names:
                raise InputError(f"TRL's {name} is set by this program: use {instead}")
        if name not in known:
            near = get_close_matches(name, known, 1)
            raise InputError(
                f"TRL's {kind.__name__} has no setting {name!r:.60}"
                + (f"; the nearest is {near[0]}" if near else "")
            )


def trl_config(kind: type[_T], ours: Mapping[str, Any], pairs: Sequence[str]) -> _T:
    """TRL's config with our settings, and those given in their place.

    Raises:
        InputError: TRL refuses what was given.
    """
    given = read_pairs(pairs)
    try:
        return kind(**{**ours, **given})
    except (TypeError, ValueError) as error:
        if not given:
            raise
        reason = " ".join(str(error).split())
        raise InputError(f"TRL refuses the settings {', '.join(given)}: {reason:.300}") from None
