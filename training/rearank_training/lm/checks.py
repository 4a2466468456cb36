"""What can be known before a model is loaded: whether a run's settings and packages will do."""

from __future__ import annotations

from rearank_agent.errors import InputError, SetupError
from rearank_agent.extras import require
from rearank_agent.llm.checkpoint import PromptConfig
from rearank_training.lm.processes import process_count
from rearank_training.lm.prompts import check_form
from rearank_training.lm.settings import GRPOSettings, SFTSettings
from rearank_training.lm.trackers import check_tracker
from rearank_training.lm.trl_settings import accumulation_steps
from rearank_training.lm.trl_table import check_trl

__all__ = ["check_run"]


def check_run(
    recipe: SFTSettings | GRPOSettings,
    prompt_config: PromptConfig,
    device: str,
    processes: int | None = None,
) -> None:
    """Check that a run can be done as it is asked for.

    Args:
        recipe: its settings.
        prompt_config: the model's.
        device: cpu or cuda.
        processes: that train together; None for those of this run.

    Raises:
        InputError: the model is asked for scores, a setting of TRL cannot be used, or the settings
            do not go together.
        SetupError: a package is missing, or vLLM or 4 bits are asked for without a GPU.
    """
    check_form(prompt_config)
    check_tracker(recipe.report_to)
    check_trl("sft" if isinstance(recipe, SFTSettings) else "grpo", recipe.trl or ())
    processes = processes or process_count()
    sharded = device == "cuda" and processes > 1
    if recipe.qlora and device == "cpu":  # bitsandbytes packs them anew there after each look
        raise SetupError("4 bits are for a GPU: leave out --qlora, or give --dtype bfloat16")
    if recipe.qlora:
        require("--qlora", "qlora", "bitsandbytes")
    if isinstance(recipe, SFTSettings):
        if sharded and recipe.lora:
            raise InputError(
                "adapters are trained on one GPU: leave out --lora, or start one process"
            )
        accumulation_steps(recipe.batch, recipe.at_once, processes)
        return
    _check_sampling(recipe, device, sharded)
    replies = recipe.prompts * recipe.rollouts // recipe.updates
    accumulation_steps(replies, recipe.at_once, processes)


def _check_sampling(recipe: GRPOSettings, device: str, sharded: bool) -> None:
    if recipe.samples_with_vllm and device == "cpu":
        raise SetupError("vLLM can only sample for training on a GPU: leave out --vllm")
    if sharded and (recipe.goal == "list" or not recipe.samples_with_vllm or recipe.lora):
        raise InputError(
            "on several GPUs the weights are sharded, and processes that sample independently "
            "would deadlock: give --vllm and --goal window there, and leave out --lora"
        )
    if recipe.samples_with_vllm:
        require("sampling with vLLM", "serve", "vllm")
