"""A cold start: a language model learns to say what another policy would have said.

The loss is on the reply alone, and the prompts are those of serving. Some queries are held out: a
run ends, and is chosen, by the loss on their replies, so that what is left to learn is left to
reinforcement, and no head start is made up by ending too soon.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from datasets import Dataset
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from rearank_agent.errors import InputError
from rearank_training.lm.callbacks import Dev, DevCallback, Watch
from rearank_training.lm.demonstrations import Demonstration
from rearank_training.lm.model import Loaded
from rearank_training.lm.prompts import example_prompt
from rearank_training.lm.runs import run, without_warnings
from rearank_training.lm.sampler import Sampler, chat_options
from rearank_training.lm.settings import SFTSettings
from rearank_training.lm.trl_settings import (
    accumulation_steps,
    adapters,
    common_settings,
    several_gpus,
)

__all__ = ["sft"]

_MOST_HELD_OUT = 256


@without_warnings()
def sft(
    loaded: Loaded,
    lessons: Sequence[Demonstration],
    dev: Dev,
    recipe: SFTSettings,
    out: Path,
    checkpoint: Path | None = None,
    watch: Watch = lambda _line: None,
) -> dict[str, Any]:
    """Imitate, until held-out replies get no likelier; gives the line of the best look.

    Args:
        lessons: that fit.
        out: the folder of the run; `out/policy` is what comes of it.
        checkpoint: to go on from.

    Raises:
        InputError: the loss is not a number, or the settings do not go together.
        SetupError: the folder cannot be written.
    """
    looks = DevCallback("sft", out, dev, every=recipe.every, patience=recipe.patience, watch=watch)
    if several_gpus(loaded.where) and recipe.lora:
        raise InputError("adapters are trained on one GPU: leave out --lora, or the processes")
    learned, held = _held_out(lessons, recipe.seed)
    trainer = SFTTrainer(
        model=loaded.model,
        args=_config(recipe, loaded, out),
        train_dataset=_table(learned, loaded),
        eval_dataset=_table(held, loaded),
        processing_class=loaded.tokenizer,
        peft_config=adapters(recipe.lora),
        callbacks=[looks],
    )

    def held_out() -> dict[str, float]:
        return {"held_out": round(trainer.evaluate()["eval_loss"], 6)}

    say = Sampler(trainer.model, loaded.tokenizer, loaded.words).say
    return run(trainer, looks, loaded, say, checkpoint, held_out)


def _config(recipe: SFTSettings, loaded: Loaded, out: Path) -> SFTConfig:
    return SFTConfig(
        **common_settings(out, recipe.seed, loaded.where),
        max_steps=recipe.steps,
        per_device_train_batch_size=recipe.at_once,
        gradient_accumulation_steps=accumulation_steps(recipe.batch, recipe.at_once),
        learning_rate=recipe.rate,
        lr_scheduler_type="linear",
        warmup_steps=min(50, recipe.steps // 10),
        weight_decay=0.01,
        logging_steps=1,
        per_device_eval_batch_size=recipe.at_once,
        max_length=None,
        completion_only_loss=True,
        dataset_num_proc=None,
    )


def _held_out(
    lessons: Sequence[Demonstration], seed: int
) -> tuple[Sequence[Demonstration], Sequence[Demonstration]]:
    """Those that are learned, and those of a twentieth of the queries; of one query, the same."""
    queries = sorted({lesson.shown.query for lesson in lessons})
    count = min(len(queries) // 2, max(1, len(queries) // 20))
    chosen = set(Random(seed).sample(queries, count))  # noqa: S311 - to be drawn again
    held = [lesson for lesson in lessons if lesson.shown.query in chosen]
    learned = [lesson for lesson in lessons if lesson.shown.query not in chosen]
    return learned, held[:_MOST_HELD_OUT] or lessons


def _table(lessons: Sequence[Demonstration], loaded: Loaded) -> Dataset:
    return Dataset.from_list([_row(lesson, loaded) for lesson in lessons])


def _row(lesson: Demonstration, loaded: Loaded) -> dict[str, Any]:
    options = chat_options(loaded.words)
    return {
        "prompt": list(example_prompt(loaded.words, lesson.shown).messages),
        "completion": [{"role": "assistant", "content": lesson.reply}],
        **({"chat_template_kwargs": options} if options else {}),
    }
