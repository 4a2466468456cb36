"""The stages of the study of pretrained models: rows, imitation and reinforcement, as commands."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.study import Run, draw_rows, train_phase
from rearank_agent.listwise.template import Template
from rearank_agent.llm.checkpoint import PromptConfig
from rearank_training.lm.model import load, quiet, write_model

__all__ = ["SIZES", "SMALL", "Effort", "Study"]

SIZES = (2, 3, 5, 10)  # passages of a set, from easy to hard
_WORDS = Path(__file__).with_name("pretrained.toml")


def _many(default: int, meaning: str) -> Any:
    return field(default=default, metadata={"help": meaning})


@dataclass(frozen=True)
class Effort:
    """How much is trained and measured; each is an option of the command."""

    sets: int = _many(20, "sets drawn for each query and size")
    imitation: int = _many(150, "steps of judgements, on each size")
    teaching: int = _many(150, "steps of the teacher")
    batch: int = _many(16, "replies of such a step")
    reinforcement: int = _many(60, "steps on windows")
    lists: int = _many(60, "steps on whole lists")
    prompts: int = _many(8, "prompts of a step of reinforcement, each with 8 replies")
    depth: int = _many(20, "candidates of a query in evaluation")
    queries: int = _many(100, "queries of each test collection, at most")


SMALL = Effort(
    sets=8, imitation=3, teaching=3, batch=4, reinforcement=1, lists=1, prompts=2, depth=12,
    queries=3,
)  # fmt: skip


@dataclass(frozen=True)
class Study:
    """A study in a folder; the commands are those that a person would type.

    Attributes:
        sizes: passages of a set, from easy to hard; the last is the window.
        records: imitated in place of the teacher, if any are given.
        imitated: the seed whose imitation all seeds reinforce; None for each its own.
        rates: learning rates of imitation and reinforcement; None for those of the commands.
        training: options of both phases.
        run: what runs the commands; None for a process of each.
    """

    model: Path
    train: Sequence[Path]
    dev: Sequence[Path]
    test: Sequence[Path]
    out: Path
    sizes: Sequence[int]
    teacher: str
    records: Sequence[Path]
    think: bool
    imitated: int | None
    rates: tuple[float, float] | None
    effort: Effort
    training: Sequence[str]
    run: Run | None = None

    @property
    def config(self) -> PromptConfig:
        """How the model is prompted."""
        return PromptConfig(
            Template.load(_WORDS),
            window=self.sizes[-1],
            cut=320,
            budget=512 if self.think else 96,
            think=self.think,
        )

    @property
    def cores(self) -> Mapping[str, str]:
        """The environment of the commands: all cores, also for the tokenizer."""
        return {"OMP_NUM_THREADS": str(os.cpu_count()), "TOKENIZERS_PARALLELISM": "true"}

    @property
    def list_size(self) -> int:
        """Passages of a whole list in training: three windows."""
        return min(self.effort.depth, 2 * self.sizes[-1])

    def rows(self) -> None:
        """Draw the sets of every size, and whole lists."""
        sets = self.effort.sets
        for size, count in [
            *((size, sets) for size in self.sizes),
            (self.list_size, 1 + sets // 5),
        ]:
            draw_rows(
                self.train, [*self.dev, *self.test], self.out / f"rows-{size}", "--size", size,
                "--depth", max(size, self.effort.depth), "--sets", count, run=self.run,
            )  # fmt: skip

    def models(self, seed: int) -> dict[str, Path]:
        """The policies of a seed, by method of training."""
        made = {"zero-shot": self._zero_shot()}
        policy = made["zero-shot"]
        imitated = seed if self.imitated is None else self.imitated
        for size in self.sizes:
            policy = self._imitate(policy, imitated, size)
        made["SFT"] = policy = self._learn_from_teacher(policy, imitated)
        effort = self.effort
        made["SFT+GRPO"] = self._reinforce(
            policy, self.sizes[-1], seed, "window", effort.reinforcement
        )
        made["SFT+GRPO, whole lists"] = self._reinforce(
            made["SFT+GRPO"], self.list_size, seed, "list", effort.lists
        )
        return made

    def _zero_shot(self) -> Path:
        """The model as it is, with the words of the study beside it."""
        folder = self.out / "zero-shot"
        if not folder.exists():
            quiet(2)
            found = load(str(self.model), self.config, "cpu", "bfloat16")
            parts = (found.model, found.tokenizer)
            write_model(folder, lambda to: [p.save_pretrained(to) for p in parts], self.config)
        return folder

    def _imitate(self, model: Path, seed: int, size: int) -> Path:
        taught = (self.out / f"rows-{size}", "--teacher", "judgements")
        return self._sft(model, f"sft-{size}-{seed}", seed, taught, self.effort.imitation, 1)

    def _learn_from_teacher(self, model: Path, seed: int) -> Path:
        taught: list[object] = [self.out / f"rows-{self.sizes[-1]}", "--teacher", self.teacher]
        if self.records:
            taught = [word for path in self.records for word in ("--records", path)]
        return self._sft(model, f"sft-teacher-{seed}", seed, taught, self.effort.teaching, 3)

    def _sft(
        self, model: Path, name: str, seed: int, taught: Sequence[object], steps: int, looks: int
    ) -> Path:
        return self._phase(
            "sft", model, name, seed, *taught, "--steps", steps, "--every", -(-steps // looks),
            "--no-evaluate-first", "--held-out", 64, "--batch", self.effort.batch,
        )  # fmt: skip

    def _reinforce(self, model: Path, size: int, seed: int, goal: str, steps: int) -> Path:
        return self._phase(
            "grpo", model, f"grpo-{goal}-{seed}", seed, self.out / f"rows-{size}", "--goal", goal,
            "--steps", steps, "--every", max(1, steps // 4), "--prompts", self.effort.prompts,
            "--rollouts", 8, "--no-evaluate-first",
        )  # fmt: skip

    def _phase(self, phase: str, model: Path, name: str, seed: int, *how: object) -> Path:
        rate = ("--rate", self.rates[phase == "grpo"]) if self.rates else ()
        return train_phase(
            phase, model, self.dev, self.out / name, *how, "--seed", seed, *rate, *self.training,
            run=self.run, **self.cores,
        )  # fmt: skip
