"""The trainer of the embedded policy: REARANK's recipe (arXiv 2505.20046), at laptop scale.

First a supervised start: queries of one collection, each with a relevant passage and others of
its list, every query scored against the passages of all; or windows of queries' candidates, with a
teacher's scores. Then group-relative policy gradient
(GRPO) on windows of first-stage lists: orders are sampled from a Plackett-Luce policy whose most
probable order is the served one, and their rewards are compared within the window. What is
evaluated and served is the mean of the weights over a phase, interpolated half way back to the
phase's start; the best of these on dev is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from rearank_agent.errors import InputError
from rearank_training.embedded.checkpoints import fill, load, save
from rearank_training.embedded.dev import Dev
from rearank_training.embedded.lessons import LessonSampler
from rearank_training.embedded.losses import Losses
from rearank_training.embedded.settings import EmbeddedSettings
from rearank_training.embedded.towers import Towers
from rearank_training.embedded.trunk import Trunk
from rearank_training.embedded.windows import WindowSampler
from rearank_training.log import LOG, append, truncate
from rearank_training.rows.heldout import macro

__all__ = ["BEST", "LAST", "Trainer"]

LAST, BEST = "last.pt", "best.pt"
_PHASES = ("warm", "reward")
_WARMUP = 20
"""Steps of learning-rate warm-up; the rate then decays to a tenth at the end of its phase."""
_SAVE_EVERY = 25
"""Steps between two checkpoints."""
_SCALAR_RATE = 50.0
"""The learning rate of the temperature under a supervised loss, relative to the layers'."""

Watch = Callable[[dict[str, Any]], None]


class Trainer:
    """A training run, in a folder.

    Args:
        recipe: the settings.
        warm: the windows of the supervised start, from grades or of a teacher.
        reward: those of reinforcement, from rows that are not in their best order; None where it
            has no steps.
        dev: what the best weights are chosen on.
        trunk: the lower layers.
        towers: the upper ones, with their initial weights.
        out: the folder.

    Attributes:
        teacher: the windows of the supervised start, if they are of one.

    Raises:
        InputError: a name of the recipe is unknown.
    """

    _optimizer: torch.optim.Optimizer
    _start: Towers
    _mean: Towers

    def __init__(
        self,
        recipe: EmbeddedSettings,
        warm: WindowSampler | LessonSampler,
        reward: WindowSampler | None,
        dev: Dev,
        trunk: Trunk,
        towers: Towers,
        out: Path,
    ) -> None:
        torch.set_num_threads(recipe.threads)
        self.recipe, self.dev, self.trunk, self.towers, self.out = recipe, dev, trunk, towers, out
        self.teacher = warm if isinstance(warm, LessonSampler) else None
        self._losses = Losses(recipe, warm, reward, trunk)
        self._start_phase("warm")
        self.best: dict[str, Any] = {"macro": -1.0}
        self._lines = 0

    def run(self, watch: Watch = lambda _line: None) -> dict[str, Any]:
        """Train to the end; gives the log line of the best evaluation.

        Args:
            watch: gets every line of the log, and phase, step and queries before an evaluation.

        Raises:
            InputError: a loss is not a number; the last good checkpoint stays.
            SetupError: the folder cannot be written.
        """
        if self.best["macro"] < 0:
            self._evaluate(watch)
        try:
            for phase in _PHASES[_PHASES.index(self.phase) :]:
                if not self._phase_steps(phase):
                    continue
                if phase != self.phase:
                    fill(self.towers, load(self.out / BEST)["towers"], self.out / BEST)
                    self._start_phase(phase)
                self._train(watch)
        except KeyboardInterrupt:
            self._save()
            raise
        return self.best

    def resume(self) -> None:
        """Resume from the last checkpoint, bit for bit as if there had been no stop.

        Raises:
            InputError: there is none, it is damaged, of another shape, or of another recipe.
        """
        path = self.out / LAST
        state = load(path)
        ours, theirs = self._depends_on, state["recipe"]
        if names := [name for name in ours if ours[name] != theirs.get(name)]:
            changes = ", ".join(f"{name} was {theirs.get(name)}, is {ours[name]}" for name in names)
            raise InputError(f"{path} is of another recipe: {changes}")
        fill(self.towers, state["start"], path)
        self._start_phase(state["phase"])
        fill(self.towers, state["towers"], path)
        fill(self._mean, state["mean"], path)
        self._optimizer.load_state_dict(state["optimizer"])
        self.step, self.best, self._since_best = state["step"], state["best"], state["since"]
        self._lines = state["lines"]
        truncate(self.out / LOG, self._lines)

    @property
    def _depends_on(self) -> dict[str, Any]:
        """What a resumed run must have in common with the one before."""
        return asdict(self.recipe) | {"teacher": self.teacher.teacher if self.teacher else None}

    @torch.no_grad()
    def served(self) -> Towers:
        """The mean of the weights since the phase began, `moved` of the way from its start.

        A few thousand queries are soon overfitted. The mean of the weights (Izmailov et al., arXiv
        1803.05407) and interpolation with the initial ones (Wortsman et al., arXiv 2109.01903) keep
        what generalizes; docs/LOG.md has what both gained here.
        """
        towers = deepcopy(self._start)
        for ours, mean in zip(towers.parameters(), self._mean.parameters(), strict=True):
            ours.lerp_(mean, self.recipe.moved)
        return towers

    def _start_phase(self, phase: str) -> None:
        self.phase, self.step, self._since_best = phase, 0, 0
        self._start = deepcopy(self.towers).requires_grad_(False)
        self._mean = deepcopy(self._start)
        parts = (self.towers.layers.parameters(), [self.towers.log_temperature])
        groups = [{"params": list(part)} for part in parts]
        self._optimizer = torch.optim.AdamW(groups, lr=1.0, weight_decay=0.01)

    def _phase_steps(self, phase: str) -> int:
        return self.recipe.warm_steps if phase == "warm" else self.recipe.steps

    def _train(self, watch: Watch) -> None:
        recipe, steps = self.recipe, self._phase_steps(self.phase)
        while self.step < steps and self._since_best < recipe.patience:
            began = perf_counter()
            if self.phase == "warm":
                loss, metrics = self._losses.supervised(self.towers, self.step)
            else:
                loss, metrics = self._losses.reinforced(self.towers, self._start, self.step)
            self._descend(loss, steps)
            self.step += 1
            self._average()
            line = {"phase": self.phase, "step": self.step, "loss": loss.item(), **metrics}
            self._log(line | {"seconds": round(perf_counter() - began, 3)}, watch)
            if self.step % recipe.every == 0 or self.step == steps:
                self._evaluate(watch)
            if self.step % _SAVE_EVERY == 0 or self.step == steps:
                self._save()

    def _descend(self, loss: Tensor, steps: int) -> None:
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.towers.parameters(), 1.0)
        if not (torch.isfinite(loss) and torch.isfinite(norm)):
            last = self.out / LAST
            kept = f"; {last} is unchanged" if last.is_file() else ""
            raise InputError(
                f"the loss of step {self.step + 1} ({self.phase}) is not a number: "
                f"lower the learning rate{kept}"
            )
        rate = self.recipe.warm_rate if self.phase == "warm" else self.recipe.rate
        rate *= min(1.0, (self.step + 1) / _WARMUP) * (1.0 - 0.9 * self.step / steps)
        for group, times in zip(self._optimizer.param_groups, (1.0, _SCALAR_RATE), strict=True):
            group["lr"] = rate * times
        self._optimizer.step()

    @torch.no_grad()
    def _average(self) -> None:
        for mean, now in zip(self._mean.parameters(), self.towers.parameters(), strict=True):
            mean.lerp_(now, 1 / self.step)

    def _evaluate(self, watch: Watch) -> None:
        watch({"phase": self.phase, "step": self.step, "queries": len(self.dev)})
        towers = self.served()
        (values,) = self.dev.values(towers, self.trunk, [self.recipe.blend])
        line = {
            "phase": self.phase,
            "step": self.step,
            "dev": {name: round(fmean(each), 6) for name, each in values.items()},
            "macro": round(macro(values), 6),
        }
        self._since_best += 1
        if line["macro"] > self.best["macro"]:
            self.best, self._since_best = line, 0
            save(self.out / BEST, {"towers": towers.state_dict(), "best": line})
        self._log(line, watch)

    def _log(self, line: dict[str, Any], watch: Watch) -> None:
        append(self.out / LOG, line)
        self._lines += 1
        watch(line)

    def _save(self) -> None:
        state = {
            "phase": self.phase, "step": self.step, "since": self._since_best, "best": self.best,
            "towers": self.towers.state_dict(), "start": self._start.state_dict(),
            "mean": self._mean.state_dict(),
            "optimizer": self._optimizer.state_dict(), "recipe": self._depends_on,
            "lines": self._lines,
        }  # fmt: skip
        save(self.out / LAST, state)
