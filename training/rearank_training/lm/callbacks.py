"""The callback of TRL's trainers: the log, evaluations on dev, and the best model so far."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from transformers import TrainerCallback

from rearank_agent.errors import InputError
from rearank_agent.files import write_text
from rearank_agent.llm.checkpoint import PromptConfig
from rearank_agent.schedules import half_sliding
from rearank_training.lm.prompts import Example
from rearank_training.lm.rollout import Generate, Rollout, roll_out
from rearank_training.log import LOG, append
from rearank_training.rows.heldout import HeldOutQuery, macro

__all__ = ["POLICY_FOLDER", "Dev", "DevCallback", "Watch", "dev_example"]

POLICY_FOLDER = "policy"

Watch = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Dev:
    """Held-out lists, and how a model ranks them: with its prompt config, schedule and parser."""

    queries: Sequence[HeldOutQuery]
    config: PromptConfig

    def evaluate(self, generate: Generate) -> dict[str, Any]:
        """nDCG@10 of every collection, their mean, and the share of repaired replies."""
        schedule = half_sliding(self.config.window)
        rollouts = [Rollout(schedule, dev_example(one)) for one in self.queries]
        roll_out(rollouts, self.config, generate)
        values: dict[str, list[float]] = {}
        repaired = []
        for one, rollout in zip(self.queries, rollouts, strict=True):
            values.setdefault(one.collection, []).append(one.ndcg(rollout.order or ()))
            repaired += [bool(reply.faults) for turn in rollout.replies for reply in turn]
        means = {name: round(fmean(each), 6) for name, each in values.items()}
        share = round(fmean(repaired), 6)
        return {"dev": means, "macro": round(macro(values), 6), "mended": share}


def dev_example(one: HeldOutQuery) -> Example:
    """A held-out query as an example."""
    return Example("", one.query, one.instruction, one.passages, one.grades)


class DevCallback(TrainerCallback):
    """Writes the log, evaluates on dev, keeps the best model, and stops a run early.

    A checkpoint is written at every evaluation, so a resumed run evaluates at the same steps.

    Args:
        phase: sft or grpo.
        out: the folder of the run.
        dev: what the best model is chosen on.
        every: steps between two evaluations.
        patience: evaluations without improvement before the run ends; 0 for never.
        updates: of the weights in a step; TRL counts updates.
        watch: gets every line of the log, and phase, step and queries before an evaluation.
        first: whether the model is evaluated before the first step.
    """

    _generate: Generate
    _save: Callable[[Path], None]
    _measure: Callable[[], dict[str, float]]
    _broadcast: Callable[[dict[str, Any]], dict[str, Any]]
    _writes: bool

    def __init__(
        self,
        phase: str,
        out: Path,
        dev: Dev,
        *,
        every: int,
        patience: int = 0,
        updates: int = 1,
        watch: Watch = lambda _line: None,
        first: bool = True,
    ) -> None:
        self.phase, self.out, self.dev, self.watch = phase, out, dev, watch
        self.every, self.patience, self.updates = every, patience, updates
        self._first = first
        self._lines: list[dict[str, Any]] = []

    def attach(
        self,
        generate: Generate,
        save: Callable[[Path], None],
        measure: Callable[[], dict[str, float]],
        broadcast: Callable[[dict[str, Any]], dict[str, Any]],
        writes: bool,
    ) -> None:
        """Set what only the trainer has; call it before training.

        Args:
            generate: the model's replies to prompts.
            save: writes the model to a folder.
            measure: further measures of an evaluation; with `held_out`, a loss, the lowest is best.
            broadcast: gives all processes the first one's line, since they decide by it.
            writes: whether this process writes the log.
        """
        self._generate, self._save, self._measure = generate, save, measure
        self._broadcast, self._writes = broadcast, writes

    @property
    def best(self) -> dict[str, Any]:
        """The log line of the best evaluation, the first of equals; empty before there is one."""
        return max(self._evaluations, key=self._score, default={})

    @staticmethod
    def _score(line: Mapping[str, Any]) -> float:
        """Minus the held-out loss for imitation, the mean nDCG@10 on dev for reinforcement."""
        return float(-line["held_out"] if "held_out" in line else line["macro"])

    @property
    def _evaluations(self) -> list[dict[str, Any]]:
        return [line for line in self._lines if "macro" in line]

    def resume(self, step: int) -> None:
        """Drop the log lines after a step: those steps are run again."""
        lines = (self.out / LOG).read_text(encoding="utf-8").splitlines()
        self._lines = [line for line in map(json.loads, lines) if line["step"] <= step]
        if self._writes:
            write_text(self.out / LOG, (f"{json.dumps(line)}\n" for line in self._lines))

    @property
    def out_of_patience(self) -> bool:
        """Whether the last `patience` evaluations brought no improvement."""
        lines = self._evaluations
        since = len(lines) - 1 - lines.index(self.best) if lines else 0
        return bool(self.patience) and since >= self.patience

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        """Evaluate the model before training, if that is asked for."""
        if self._first and not self._lines:
            self._evaluate(0)

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        """Log a step, and evaluate on dev every `every` steps."""
        logs: Mapping[str, Any] = kwargs["logs"]
        if "loss" not in logs:
            return
        step = state.global_step // self.updates
        if logs["loss"] != logs["loss"]:
            raise InputError(
                f"the loss of step {step} is not a number: lower the learning rate; the last "
                "checkpoint is unchanged"
            )
        values = {_RENAMED.get(key, key): value for key, value in logs.items() if _logged(key)}
        line = {key: round(float(value), 6) for key, value in values.items()}
        if "seconds" in line:
            line["seconds"] *= self.updates  # TRL logs the mean over updates
        self._log({"phase": self.phase, "step": step, **line})
        last = state.global_step >= state.max_steps
        if step % self.every == 0 or last:
            self._evaluate(step)
            control.should_training_stop = self.out_of_patience or last
            control.should_save = True

    def _evaluate(self, step: int) -> None:
        """Evaluate on dev, and save the model if it is the best."""
        if self._writes:
            self.watch({"phase": self.phase, "step": step, "queries": len(self.dev.queries)})
        before = self.best
        measured = {**self.dev.evaluate(self._generate), **self._measure()}
        line = self._broadcast({"phase": self.phase, "step": step, **measured})
        if not before or self._score(line) > self._score(before):
            self._save(self.out / POLICY_FOLDER)
        self._log(line)

    def _log(self, line: dict[str, Any]) -> None:
        self._lines.append(line)
        if self._writes:
            append(self.out / LOG, line)
            self.watch(line)


_RENAMED = {
    "learning_rate": "rate", "reward_std": "deviation", "completions/mean_length": "tokens",
    "completions/clipped_ratio": "cut_off",
    "mean_token_accuracy": "accuracy", "step_time": "seconds",
}  # fmt: skip
"""TRL's names of log fields, and ours."""
_LOGGED = {"loss", "reward", "kl", "entropy", "equal", "grad_norm", *_RENAMED}
"""Fields of TRL's log that go into ours, beside those that begin so."""
_LOGGED_GROUPS = ("part/", "fault/", "sampling/", "clip_ratio/")


def _logged(key: str) -> bool:
    return key in _LOGGED or key.startswith(_LOGGED_GROUPS)
