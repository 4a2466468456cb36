"""The callback of TRL's trainers: the log, evaluations on dev, and the best model so far."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic
from typing import Any

from transformers import TrainerCallback

from rearank_agent.errors import InputError
from rearank_agent.files import write_text
from rearank_training.lm.alarms import alarms_of
from rearank_training.lm.dev import Dev
from rearank_training.lm.replies import Samples
from rearank_training.lm.rollout import Generate
from rearank_training.log import LOG, ROLLOUTS, append, read

__all__ = ["POLICY_FOLDER", "DevCallback", "Watch"]

POLICY_FOLDER = "policy"

Watch = Callable[[dict[str, Any]], None]


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
        watch: gets every line of the log; phase, step and queries before an evaluation; and
            phase, step and `evaluated` after its replies.
        rollouts: samples of the replies in training; at an evaluation they are written down.
        first: whether the model is evaluated before the first step.
        minutes: from now on, after which the step is the last; 0 for no limit.

    Attributes:
        report: gets every evaluation; where else the run is logged.
    """

    _generate: Generate
    _save: Callable[[Path], None]
    _measure: Callable[[], dict[str, float]]
    _broadcast: Callable[[dict[str, Any]], dict[str, Any]]
    _writes: bool
    report: Callable[[Mapping[str, Any]], None] = staticmethod(lambda _line: None)

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
        rollouts: Samples | None = None,
        first: bool = True,
        minutes: float = 0.0,
    ) -> None:
        self.phase, self.out, self.dev, self.watch = phase, out, dev, watch
        self.every, self.patience, self.updates = every, patience, updates
        self._replies = {"dev": Samples(), "rollouts": rollouts or Samples()}
        self._first = first
        self._end = monotonic() + 60 * minutes if minutes else math.inf
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
        """Drop the lines after a step: those steps are run again."""
        kept = {
            name: [line for line in read(self.out / name) if line["step"] <= step]
            for name in (LOG, ROLLOUTS)
        }
        self._lines = kept[LOG]
        for samples in self._replies.values():
            samples.take(step)
        for name, lines in kept.items() if self._writes else ():
            write_text(self.out / name, (f"{json.dumps(line)}\n" for line in lines))

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
        last = state.global_step >= state.max_steps or self._out_of_time()
        if step % self.every == 0 or last:
            self._evaluate(step)
            control.should_training_stop = self.out_of_patience or last
            control.should_save = True

    def _out_of_time(self) -> bool:
        """Whether the time is over, by the clock of the first process."""
        if self._end == math.inf:
            return False
        return bool(self._broadcast({"over": monotonic() >= self._end})["over"])

    def _evaluate(self, step: int) -> None:
        """Evaluate on dev, and save the model if it is the best."""
        if self._writes:
            self.watch({"phase": self.phase, "step": step, "queries": len(self.dev.queries)})
        before = self.best
        measured = self.dev.evaluate(self._generate, self._replies["dev"])
        if self._writes:
            self.watch({"phase": self.phase, "step": step, "evaluated": True})
        measured |= self._measure()
        line = self._broadcast({"phase": self.phase, "step": step, **measured})
        if not before or self._score(line) > self._score(before):
            self._save(self.out / POLICY_FOLDER)
        self._write_replies(step)
        self._log(line)
        self.report(line)

    def _write_replies(self, step: int) -> None:
        """Write down the best, the worst and a random reply since the last evaluation."""
        for source, samples in self._replies.items():
            for one in samples.take(step):
                if self._writes:
                    append(self.out / ROLLOUTS, {"step": step, "of": source, **one})

    def _log(self, line: dict[str, Any]) -> None:
        if alarms := list(alarms_of(line)):
            line = {**line, "alarms": alarms}
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
_LOGGED = {
    "loss", "reward", "kl", "entropy", "equal", "grad_norm", "copied", "repeats", *_RENAMED,
}  # fmt: skip
"""Fields of TRL's log that go into ours, beside those that begin so."""
_LOGGED_GROUPS = ("part/", "fault/", "sampling/", "clip_ratio/")


def _logged(key: str) -> bool:
    return key in _LOGGED or key.startswith(_LOGGED_GROUPS)
