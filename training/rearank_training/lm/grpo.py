"""REARANK's reinforcement of a language model (arXiv 2505.20046, section 3), by TRL.

Replies to a prompt are sampled, read as they are when served, and compared by what their orders
are worth; the goal is a window's own order, as in the paper, or that of the whole list.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from datasets import Dataset
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from rearank_agent.errors import InputError, SetupError
from rearank_agent.listwise import parse_reply
from rearank_agent.schedules import half_sliding
from rearank_training.lm.callbacks import Dev, DevCallback, Watch
from rearank_training.lm.model import Loaded
from rearank_training.lm.prompts import Example, example_prompt
from rearank_training.lm.runs import run, without_warnings
from rearank_training.lm.sampler import Sampler, chat_options
from rearank_training.lm.settings import GRPOSettings
from rearank_training.lm.trl_settings import (
    accumulation_steps,
    adapters,
    common_settings,
    several_gpus,
)
from rearank_training.lm.vllm_sampler import VLLMSampler
from rearank_training.lm.whole_list import WholeList
from rearank_training.rows.rewards import (
    CompleteList,
    Ndcg,
    Rbo,
    Rearank,
    Recall,
    RelativeNdcg,
    Reward,
    Tags,
)
from rearank_training.rows.rewards import reward_by_name as reward_named

__all__ = ["TRLReward", "grpo"]

_FAULTS = ("unreadable", "missing", "repeated", "foreign")
_USUAL = (RelativeNdcg(), Tags(), CompleteList())
_PARTS: dict[str, tuple[Reward, ...]] = {
    "reasonrank": (Ndcg(), Recall(), Rbo(), Tags(), CompleteList())
}


class TRLReward:
    """A reward as TRL calls it, which says what replies were like, and whose reply it failed on.

    Args:
        reward: of a reply.
    """

    __name__ = "reward"

    def __init__(self, reward: Reward) -> None:
        self.reward = reward
        self._parts = _PARTS.get(reward.name, _USUAL)

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
            gained: what whole lists gained, where they are the goal: it takes the place of the
                window's own gain.

        Raises:
            InputError: the reward failed, or is not a number; names the row.
        """
        gains: Sequence[float | None] = gained or [None] * len(completions)
        replies = [said[-1]["content"] for said in completions]
        rewards: list[float | None] = [
            self._of(*one) for one in zip(replies, row, grades, gains, strict=True)
        ]
        for reply, shown in zip(replies, grades, strict=True):
            found = Counter(fault.kind for fault in parse_reply(reply, len(shown)).faults)
            for kind in _FAULTS:
                log_metric(f"fault/{kind}", float(found[kind] > 0))
            for part in self._parts:
                log_metric(f"part/{part.name}", part.of_reply(reply, shown))
        for gain in gained or ():
            log_metric("part/list_gain", gain)
        for _, same in groupby(zip(row, rewards, strict=True), key=lambda pair: pair[0]):
            log_metric("equal", float(len({worth for _, worth in same}) == 1))
        return rewards

    def _of(self, reply: str, row: str, grades: Sequence[float], gain: float | None) -> float:
        try:
            if gain is not None:
                worth = Rearank().of_gain(gain, reply, grades)
            else:
                worth = self.reward.of_reply(reply, grades)
        except Exception as error:
            raise InputError(
                f"the reward {self.reward.name} failed on the row {row}: {error!r:.200}; "
                f"the reply was {reply!r:.200}"
            ) from error
        if worth != worth:
            raise InputError(f"the reward {self.reward.name} of the row {row} is not a number")
        return worth


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
    """Reinforce; gives the line of the best look.

    Args:
        rows: that fit; with a better order than their own.
        out: the folder of the run; `out/policy` is what comes of it.
        checkpoint: to go on from.

    Raises:
        InputError: the loss is not a number, a reward fails, or the settings do not go together.
        SetupError: vLLM is asked for without a GPU, or the folder cannot be written.
    """
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")  # rollout_func is called experimental
    lists = (
        WholeList(
            rows, loaded.words, half_sliding(loaded.words.window), recipe.temperature, recipe.seed
        )
        if recipe.goal == "list"
        else None
    )
    looks = DevCallback(
        "grpo", out, dev, every=recipe.every, patience=recipe.patience, updates=recipe.updates,
        watch=watch,
    )  # fmt: skip
    trainer = GRPOTrainer(
        model=loaded.model,
        reward_funcs=TRLReward(reward_named(recipe.reward)),
        args=_config(recipe, loaded, out, len(rows)),
        train_dataset=Dataset.from_list([_row(one, loaded, lists) for one in rows]),
        processing_class=loaded.tokenizer,
        peft_config=adapters(recipe.lora),
        callbacks=[looks],
        rollout_func=lists,
    )
    if recipe.vllm:
        voice: Sampler = VLLMSampler(trainer, loaded.tokenizer, loaded.words)
    else:
        voice = Sampler(trainer.model, loaded.tokenizer, loaded.words)
    if lists:
        lists.voice = voice
    return run(trainer, looks, loaded, voice.say, checkpoint)


def _row(one: Example, loaded: Loaded, lists: WholeList | None) -> dict[str, Any]:
    prompt = lists.prompt(one) if lists else example_prompt(loaded.words, one).messages
    return {"prompt": list(prompt), "row": one.name, "grades": list(one.grades)}


def _config(recipe: GRPOSettings, loaded: Loaded, out: Path, rows: int) -> GRPOConfig:
    if rows < recipe.prompts:
        raise InputError(
            f"{rows} rows are fewer than the {recipe.prompts} prompts of a step: draw more, or "
            "give --prompts"
        )
    if recipe.vllm and loaded.where == "cpu":
        raise SetupError("vLLM can only sample for training on a GPU: leave out --vllm")
    if several_gpus(loaded.where) and (recipe.goal == "list" or not recipe.vllm or recipe.lora):
        raise InputError(
            "on several GPUs the weights are shared out, and processes that sample on their own "
            "would wait for one another for ever: there it must be --vllm, --goal window, no --lora"
        )
    each = accumulation_steps(recipe.prompts * recipe.rollouts // recipe.updates, recipe.at_once)
    sampler: dict[str, Any] = {
        "use_vllm": True,
        "vllm_mode": "colocate",
        "vllm_enable_sleep_mode": True,
        "vllm_max_model_length": recipe.prompt_tokens + loaded.words.budget,
        # what it corrects by is not known of a list's rollouts
        "vllm_importance_sampling_correction": recipe.goal == "window",
    }
    return GRPOConfig(
        **common_settings(out, recipe.seed, loaded.where),
        **(sampler if recipe.vllm else {}),
        loss_type="grpo",
        max_steps=recipe.steps * recipe.updates,
        logging_steps=recipe.updates,
        per_device_train_batch_size=recipe.at_once,
        gradient_accumulation_steps=each,
        steps_per_generation=each * recipe.updates,
        num_generations=recipe.rollouts,
        max_completion_length=loaded.words.budget,
        learning_rate=recipe.rate,
        lr_scheduler_type="constant",
        beta=recipe.kl,
        epsilon=recipe.clip,
        temperature=recipe.temperature,
        chat_template_kwargs=chat_options(loaded.words) or None,
    )
