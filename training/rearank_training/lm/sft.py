"""Supervised fine-tuning: a language model learns to imitate the replies of another policy.

The loss is on the reply alone, and the prompts are those of serving. Some queries are held out: the
loss on their replies decides when a run ends and which model is kept, so that imitation is trained
to its end, and what reinforcement gains is not what imitation had left to learn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from datasets import Dataset
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from rearank_training.lm.callbacks import DevCallback, Watch
from rearank_training.lm.checks import check_run
from rearank_training.lm.demonstrations import Demonstration
from rearank_training.lm.dev import Dev
from rearank_training.lm.model import Loaded
from rearank_training.lm.prompts import example_prompt
from rearank_training.lm.runs import run, without_warnings
from rearank_training.lm.sampler import Sampler, asked_thought, chat_options
from rearank_training.lm.settings import SFTSettings
from rearank_training.lm.trackers import report_dev
from rearank_training.lm.trl_settings import (
    accumulation_steps,
    adapters,
    common_settings,
)
from rearank_training.lm.trl_table import trl_config
from rearank_training.rows.rewards import Rearank

__all__ = ["sft"]


@without_warnings()
def sft(
    loaded: Loaded,
    demonstrations: Sequence[Demonstration],
    dev: Dev,
    recipe: SFTSettings,
    out: Path,
    checkpoint: Path | None = None,
    watch: Watch = lambda _line: None,
) -> dict[str, Any]:
    """Imitate until the held-out loss stops falling; gives the log line of the best evaluation.

    Args:
        loaded: the model to train.
        demonstrations: with prompts that fit.
        dev: the queries of the evaluations.
        recipe: the settings.
        out: the folder of the run; the best model is written to `out/policy`.
        checkpoint: to resume from; None for a new run.
        watch: gets every line of the log.

    Raises:
        InputError: the loss is not a number, the settings do not go together, or the model is
            asked for scores.
        SetupError: the folder cannot be written.
    """
    check_run(recipe, loaded.prompt_config, loaded.device)
    thought = asked_thought(loaded.prompt_config, loaded.tokenizer)
    dev = replace(dev, reward=Rearank(thought))
    callback = DevCallback(
        "sft", out, dev, every=recipe.every, patience=recipe.patience, watch=watch,
        first=recipe.evaluate_first, minutes=recipe.minutes,
    )  # fmt: skip
    learned, held = _held_out(demonstrations, recipe)
    trainer = SFTTrainer(
        model=loaded.model,
        args=_config(recipe, loaded, out),
        train_dataset=_table(learned, loaded),
        eval_dataset=_table(held, loaded),
        processing_class=loaded.tokenizer,
        peft_config=adapters(recipe.lora),
        callbacks=[callback],
    )

    callback.report = partial(report_dev, trainer)
    sampler = Sampler(trainer.model, loaded.tokenizer, loaded.prompt_config)

    def measure() -> dict[str, float]:
        return {"held_out": round(trainer.evaluate()["eval_loss"], 6), **sampler.share_cut_off()}

    return run(trainer, callback, loaded, sampler.reply, checkpoint, measure)


def _config(recipe: SFTSettings, loaded: Loaded, out: Path) -> SFTConfig:
    ours = {
        **common_settings(out, recipe, loaded.device),
        "max_steps": recipe.steps,
        "per_device_train_batch_size": recipe.at_once,
        "gradient_accumulation_steps": accumulation_steps(recipe.batch, recipe.at_once),
        "learning_rate": recipe.rate,
        "lr_scheduler_type": "linear",
        "warmup_steps": min(50, recipe.steps // 10),
        "weight_decay": 0.01,
        "logging_steps": 1,
        "per_device_eval_batch_size": recipe.at_once,
        "max_length": None,
        "completion_only_loss": True,
        "dataset_num_proc": None,  # forked processes may hang where JAX is installed
    }
    return trl_config(SFTConfig, ours, recipe.trl or ())


def _held_out(
    demonstrations: Sequence[Demonstration], recipe: SFTSettings
) -> tuple[Sequence[Demonstration], Sequence[Demonstration]]:
    """Those to train on, and those of a twentieth of the queries; with one query, all in both."""
    queries = sorted({one.example.query for one in demonstrations})
    count = min(len(queries) // 2, max(1, len(queries) // 20))
    chosen = set(Random(recipe.seed).sample(queries, count))  # noqa: S311 - reproducible, not secret
    held = [one for one in demonstrations if one.example.query in chosen]
    learned = [one for one in demonstrations if one.example.query not in chosen]
    return learned, held[: recipe.held_out] or demonstrations


def _table(demonstrations: Sequence[Demonstration], loaded: Loaded) -> Dataset:
    return Dataset.from_list([_row(one, loaded) for one in demonstrations])


def _row(one: Demonstration, loaded: Loaded) -> dict[str, Any]:
    options = chat_options(loaded.prompt_config)
    return {
        "prompt": list(example_prompt(loaded.prompt_config, one.example).messages),
        "completion": [{"role": "assistant", "content": one.reply}],
        **({"chat_template_kwargs": options} if options else {}),
    }
