"""REARANK's reinforcement of a language model (arXiv 2505.20046, section 3), by TRL.

Replies to a prompt are sampled, parsed as in serving, and compared by the rewards of their orders;
the goal is the order of a window, as in the paper, or of a complete list.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from datasets import Dataset
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from rearank_agent.errors import InputError
from rearank_agent.llm.checkpoint import PromptConfig
from rearank_agent.schedules import half_sliding
from rearank_training.lm.callbacks import DevCallback, Watch
from rearank_training.lm.checks import check_run
from rearank_training.lm.dev import Dev
from rearank_training.lm.model import Loaded
from rearank_training.lm.prompts import Example, example_prompt
from rearank_training.lm.replies import Samples, metrics, rate
from rearank_training.lm.runs import run, without_warnings
from rearank_training.lm.sampler import Sampler, asked_thought, chat_options
from rearank_training.lm.settings import GRPOSettings
from rearank_training.lm.trackers import report_dev
from rearank_training.lm.trl_settings import (
    accumulation_steps,
    adapters,
    common_settings,
)
from rearank_training.lm.trl_table import trl_config
from rearank_training.lm.vllm_sampler import VLLMSampler
from rearank_training.lm.whole_list import WholeList
from rearank_training.rows.rewards import Reward, reward_by_name

__all__ = ["TRLReward", "grpo", "vllm_settings"]

_CORRECTIONS = {"token": "token_truncate", "sequence": "sequence_mask"}
"""TRL's names for how rollouts of vLLM are weighted."""


class TRLReward:
    """A reward as TRL calls it, with metrics of the replies and the row's name in errors.

    Args:
        reward: of a reply.
        queries: by the name of the row.

    Attributes:
        samples: of the replies.
    """

    __name__ = "reward"

    def __init__(self, reward: Reward, queries: Mapping[str, str], seed: int = 0) -> None:
        self.reward, self._queries = reward, queries
        self.samples = Samples(seed)

    def __call__(
        self,
        completions: Sequence[Any],
        row: Sequence[str],
        grades: Sequence[Sequence[float]],
        gained: Sequence[float] | None = None,
        log_metric: Callable[[str, float], None] = lambda _name, _value: None,
        **_columns: Any,
    ) -> list[float | None]:
        """The rewards of a batch.

        Args:
            row: the names of the rows.
            grades: of the passages as they were shown.
            gained: the relative nDCG@10 of complete lists, where they are the goal: it replaces
                the window's own.
            log_metric: TRL's, for the parts of the reward, faults, measures and equal rewards.

        Raises:
            InputError: the reward failed, or is not a number; the message names the row.
        """
        gains: Sequence[float | None] = gained or [None] * len(completions)
        replies = [chat[-1]["content"] for chat in completions]
        found = [
            rate(self.reward, name, self._queries.get(name, ""), reply, shown, gain)
            for name, reply, shown, gain in zip(row, replies, grades, gains, strict=True)
        ]
        self.samples.extend(found)
        for one in found:
            for metric, value in metrics(one).items():
                log_metric(metric, value)
        rewards: list[float | None] = [one.reward for one in found]
        for _, same in groupby(zip(row, rewards, strict=True), key=lambda pair: pair[0]):
            log_metric("equal", float(len({reward for _, reward in same}) == 1))
        return rewards


@without_warnings()
def grpo(
    loaded: Loaded,
    rows: Sequence[Example],
    dev: Dev,
    recipe: GRPOSettings,
    out: Path,
    checkpoint: Path | None = None,
    watch: Watch = lambda _line: None,
) -> dict[str, Any]:
    """Reinforce; gives the log line of the best evaluation.

    Args:
        loaded: the model to train.
        rows: with prompts that fit, and not in their best order.
        dev: the queries of the evaluations.
        recipe: the settings.
        out: the folder of the run; the best model is written to `out/policy`.
        checkpoint: to resume from; None for a new run.
        watch: gets every line of the log.

    Raises:
        InputError: the loss is not a number, a reward fails, the settings do not go together, or
            the model is asked for scores.
        SetupError: a package is missing, vLLM is asked for without a GPU, or the folder cannot be
            written.
    """
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")  # rollout_func is called experimental
    config = loaded.prompt_config
    check_run(recipe, config, loaded.device)
    lists = (
        WholeList(rows, config, half_sliding(config.window), recipe.temperature, recipe.seed)
        if recipe.goal == "list"
        else None
    )
    reward = reward_by_name(recipe.reward, asked_thought(config, loaded.tokenizer))
    rewarding = TRLReward(reward, {one.name: one.query for one in rows}, recipe.seed)
    callback = DevCallback(
        "grpo", out, replace(dev, reward=reward), every=recipe.every, patience=recipe.patience,
        updates=recipe.updates, watch=watch, rollouts=rewarding.samples,
        first=recipe.evaluate_first, minutes=recipe.minutes,
    )  # fmt: skip
    trainer = GRPOTrainer(
        model=loaded.model,
        reward_funcs=rewarding,
        args=_config(recipe, loaded, out, len(rows)),
        train_dataset=Dataset.from_list([_row(one, loaded, lists) for one in rows]),
        processing_class=loaded.tokenizer,
        peft_config=adapters(recipe.lora),
        callbacks=[callback],
        rollout_func=lists,
    )
    callback.report = partial(report_dev, trainer)
    sampler = _sampler(trainer, recipe, loaded)
    if lists:
        lists.sampler = _sampler(trainer, recipe, loaded)
    return run(trainer, callback, loaded, sampler.reply, checkpoint, sampler.share_cut_off)


def _sampler(trainer: Any, recipe: GRPOSettings, loaded: Loaded) -> Sampler:
    if recipe.samples_with_vllm:
        return VLLMSampler(trainer, loaded.tokenizer, loaded.prompt_config)
    return Sampler(trainer.model, loaded.tokenizer, loaded.prompt_config)


def _row(one: Example, loaded: Loaded, lists: WholeList | None) -> dict[str, Any]:
    prompt = lists.prompt(one) if lists else example_prompt(loaded.prompt_config, one).messages
    return {"prompt": list(prompt), "row": one.name, "grades": list(one.grades)}


def _config(recipe: GRPOSettings, loaded: Loaded, out: Path, rows: int) -> GRPOConfig:
    if rows < recipe.prompts:
        raise InputError(
            f"{rows} rows are fewer than the {recipe.prompts} prompts of a step: draw more, or "
            "give --prompts"
        )
    each = accumulation_steps(recipe.prompts * recipe.rollouts // recipe.updates, recipe.at_once)
    ours = {
        **common_settings(out, recipe, loaded.device),
        **(vllm_settings(recipe, loaded.prompt_config) if recipe.samples_with_vllm else {}),
        "loss_type": "grpo",
        "max_steps": recipe.steps * recipe.updates,
        "logging_steps": recipe.updates,
        "per_device_train_batch_size": recipe.at_once,
        "gradient_accumulation_steps": each,
        "steps_per_generation": each * recipe.updates,
        "num_generations": recipe.rollouts,
        "max_completion_length": loaded.prompt_config.budget,
        "learning_rate": recipe.rate,
        "lr_scheduler_type": "constant",
        "beta": recipe.kl,
        "delta": 3.0,  # as published: below an advantage of 0, the ratio counts as 3 at most
        "use_bias_correction_kl": False,  # the published loss adds the KL without the ratio
        "weight_decay": 0.01,  # as published
        "epsilon": recipe.clip,
        "temperature": recipe.temperature,
        "chat_template_kwargs": chat_options(loaded.prompt_config) or None,
    }
    return trl_config(GRPOConfig, ours, recipe.trl or ())


def vllm_settings(recipe: GRPOSettings, config: PromptConfig) -> dict[str, Any]:
    """TRL's settings for sampling with vLLM in the same process, or in a server."""
    # the rollouts of lists come without the log probabilities that a correction needs
    corrected = recipe.goal == "window" and recipe.correction != "none"
    inside = {
        "vllm_mode": "colocate",
        "vllm_enable_sleep_mode": True,
        "vllm_gpu_memory_utilization": recipe.vllm_memory,
        "vllm_max_model_length": recipe.prompt_tokens + config.budget,
    }
    server = {"vllm_mode": "server", "vllm_server_base_url": recipe.vllm_server}
    return {
        "use_vllm": True,
        **(server if recipe.vllm_server else inside),
        "vllm_importance_sampling_correction": corrected,
        **({"vllm_importance_sampling_mode": _CORRECTIONS[recipe.correction]} if corrected else {}),
    }
