"""What happens beside a run of TRL's: its log, looks at dev, and the best model so far."""

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
    """Held-out lists, and how a model ranks them: by its own words, schedule and reader."""

    judged: Sequence[HeldOutQuery]
    words: PromptConfig

    def look(self, say: Generate) -> dict[str, Any]:
        """nDCG@10 of a model: the mean of every collection, their mean, and mended replies."""
        games = [Rollout(half_sliding(self.words.window), dev_example(one)) for one in self.judged]
        roll_out(games, self.words, say)
        values: dict[str, list[float]] = {}
        mended = []
        for one, game in zip(self.judged, games, strict=True):
            values.setdefault(one.collection, []).append(one.ndcg(game.order or ()))
            mended += [bool(reply.faults) for turn in game.played for reply in turn]
        means = {name: round(fmean(some), 6) for name, some in values.items()}
        return {"dev": means, "macro": round(macro(values), 6), "mended": round(fmean(mended), 6)}


def dev_example(one: HeldOutQuery) -> Example:
    """A held-out query as it is shown."""
    return Example("", one.query, one.instruction, one.passages, one.grades)


class DevCallback(TrainerCallback):
    """Writes the log, looks at dev, keeps the best model, and ends a run that gets no better.

    A checkpoint is written at every look, so a run that is taken up again looks at the same steps.

    Args:
        phase: sft or grpo.
        out: the folder of the run.
        dev: what is chosen by.
        every: steps between two looks.
        patience: looks without a better one before the run ends; 0 for never.
        updates: of the weights in a step, as a person counts steps.
        watch: is given every line of the log, and phase, step and queries before a look.
    """

    _say: Generate
    _keep: Callable[[Path], None]
    _measure: Callable[[], dict[str, float]]
    _agreed: Callable[[dict[str, Any]], dict[str, Any]]
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
    ) -> None:
        self.phase, self.out, self.dev, self.watch = phase, out, dev, watch
        self.every, self.patience, self.updates = every, patience, updates
        self._lines: list[dict[str, Any]] = []

    def attach(
        self,
        say: Generate,
        keep: Callable[[Path], None],
        measure: Callable[[], dict[str, float]],
        agreed: Callable[[dict[str, Any]], dict[str, Any]],
        writes: bool,
    ) -> None:
        """What only a trainer has; before it begins.

        Args:
            say: asks the model.
            keep: writes it into a folder.
            measure: gives what else a look has; `held_out`, a loss, is then what is chosen by.
            agreed: gives the first process's line to all, since they decide by it.
            writes: whether this process keeps the log.
        """
        self._say, self._keep, self._measure = say, keep, measure
        self._agreed, self._writes = agreed, writes

    @property
    def best(self) -> dict[str, Any]:
        """The line of the best look, of equal ones the first; empty before there is one."""
        return max(self._looks, key=self._goodness, default={})

    @staticmethod
    def _goodness(line: Mapping[str, Any]) -> float:
        """Replies that are imitated are held to what is imitated, others to dev."""
        return float(-line["held_out"] if "held_out" in line else line["macro"])

    @property
    def _looks(self) -> list[dict[str, Any]]:
        return [line for line in self._lines if "macro" in line]

    def resume(self, step: int) -> None:
        """Forget what came after a step: it is done again."""
        text = (self.out / LOG).read_text(encoding="utf-8").splitlines()
        self._lines = [line for line in map(json.loads, text) if line["step"] <= step]
        if self._writes:
            write_text(self.out / LOG, (f"{json.dumps(line)}\n" for line in self._lines))

    @property
    def over(self) -> bool:
        """Whether there was no better look for as long as one is waited for."""
        since = len(self._looks) - 1 - self._looks.index(self.best) if self._looks else 0
        return bool(self.patience) and since >= self.patience

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        """Look at dev before anything was learned."""
        if not self._lines:
            self._look(0)

    def on_log(self, args: Any, state: Any, control: Any, **told: Any) -> None:  # noqa: ARG002
        """Put a step into the log, and look at dev when it is time."""
        logs: Mapping[str, Any] = told["logs"]
        if "loss" not in logs:
            return
        step = state.global_step // self.updates
        if logs["loss"] != logs["loss"]:
            raise InputError(
                f"the loss of step {step} is not a number: lower the learning rate; the last "
                "checkpoint is as it was"
            )
        values = {_NAMES.get(key, key): value for key, value in logs.items() if _wanted(key)}
        line = {key: round(float(value), 6) for key, value in values.items()}
        if "seconds" in line:
            line["seconds"] *= self.updates  # TRL has the mean of the updates
        self._log({"phase": self.phase, "step": step, **line})
        last = state.global_step >= state.max_steps
        if step % self.every == 0 or last:
            self._look(step)
            control.should_training_stop = self.over or last
            control.should_save = True

    def _look(self, step: int) -> None:
        """Measure dev, and keep the model if it is the best."""
        if self._writes:
            self.watch({"phase": self.phase, "step": step, "queries": len(self.dev.judged)})
        before = self.best
        seen = {**self.dev.look(self._say), **self._measure()}
        line = self._agreed({"phase": self.phase, "step": step, **seen})
        if not before or self._goodness(line) > self._goodness(before):
            self._keep(self.out / POLICY_FOLDER)
        self._log(line)

    def _log(self, line: dict[str, Any]) -> None:
        self._lines.append(line)
        if self._writes:
            append(self.out / LOG, line)
            self.watch(line)


_NAMES = {
    "learning_rate": "rate", "reward_std": "deviation", "completions/mean_length": "tokens",
    "completions/clipped_ratio": "cut_off",
    "mean_token_accuracy": "accuracy", "step_time": "seconds",
}  # fmt: skip
_KEPT = {"loss", "reward", "kl", "entropy", "equal", *_NAMES}


def _wanted(key: str) -> bool:
    return key in _KEPT or key.startswith(("part/", "fault/"))
