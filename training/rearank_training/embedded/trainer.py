"""Train the embedded policy by REARANK's recipe (arXiv 2505.20046), at the size of a laptop.

First a supervised start: queries of one collection, each with a relevant passage and others of
its list; every query sees the passages of all. Then group-relative policy gradient (GRPO) on
windows of first-stage lists: orders are sampled from a Plackett-Luce policy, their rewards are
compared within the window. What is measured and served is the mean of the weights over a phase,
half way back to its start; what is kept is what was best of it on dev.
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
from rearank_training.embedded.losses import Losses
from rearank_training.embedded.settings import EmbeddedSettings
from rearank_training.embedded.towers import Towers
from rearank_training.embedded.trunk import Trunk
from rearank_training.embedded.windows import WindowSampler
from rearank_training.log import LOG, append, cut
from rearank_training.rows.heldout import macro

__all__ = ["BEST", "LAST", "Trainer"]

LAST, BEST = "last.pt", "best.pt"
_PHASES = ("warm", "reward")
_RISE = 20
"""Steps in which a learning rate rises; it then falls to a tenth at the end of its phase."""
_SAVED = 25
"""Steps between two checkpoints."""
_SCALARS = 50.0
"""How much faster the two scalars of the logits learn than the layers."""

Watch = Callable[[dict[str, Any]], None]


class Trainer:
    """A run of training, in a folder.

    Args:
        recipe: how.
        warm, reward: what is drawn in the two phases; the second from rows that have a better
            order than their own.
        dev: what is chosen by.
        trunk: the lower layers.
        towers: the upper ones, as they are at the start.
        out: the folder.

    Raises:
        InputError: a name of the recipe is unknown.
    """

    _optimizer: torch.optim.Optimizer
    _start: Towers
    _mean: Towers

    def __init__(
        self,
        recipe: EmbeddedSettings,
        warm: WindowSampler,
        reward: WindowSampler,
        dev: Dev,
        trunk: Trunk,
        towers: Towers,
        out: Path,
    ) -> None:
        torch.set_num_threads(recipe.threads)
        self.recipe, self.dev, self.trunk, self.towers, self.out = recipe, dev, trunk, towers, out
        self._lessons = Losses(recipe, warm, reward, trunk)
        self._begin("warm")
        self.best: dict[str, Any] = {"macro": -1.0}
        self._lines = 0

    def run(self, watch: Watch = lambda _line: None) -> dict[str, Any]:
        """Train to the end; gives what was best, as a line of the log.

        Args:
            watch: is given every line, and phase, step and queries before dev is measured.

        Raises:
            InputError: a loss is not a number; the last good checkpoint stays.
            SetupError: the folder cannot be written.
        """
        if self.best["macro"] < 0:
            self._look(watch)
        try:
            for phase in _PHASES[_PHASES.index(self.phase) :]:
                if not self._steps(phase):
                    continue
                if phase != self.phase:
                    fill(self.towers, load(self.out / BEST)["towers"], self.out / BEST)
                    self._begin(phase)
                self._train(watch)
        except KeyboardInterrupt:
            self._save()
            raise
        return self.best

    def resume(self) -> None:
        """Go on from the last checkpoint, bit for bit as if there had been no stop.

        Raises:
            InputError: there is none, it is damaged, of another shape, or of another recipe.
        """
        path = self.out / LAST
        state = load(path)
        ours, theirs = asdict(self.recipe), state["recipe"]
        if odd := [name for name in ours if ours[name] != theirs.get(name)]:
            told = ", ".join(f"{name} was {theirs.get(name)}, is {ours[name]}" for name in odd)
            raise InputError(f"{path} is of another recipe: {told}")
        fill(self.towers, state["start"], path)
        self._begin(state["phase"])
        fill(self.towers, state["towers"], path)
        fill(self._mean, state["mean"], path)
        self._optimizer.load_state_dict(state["optimizer"])
        self.step, self.best, self._since = state["step"], state["best"], state["since"]
        self._lines = state["lines"]
        cut(self.out / LOG, self._lines)

    @torch.no_grad()
    def served(self) -> Towers:
        """The mean of the weights since the phase began, half way back to its start.

        A few thousand queries are soon known by heart. The mean of a path (Izmailov et al., arXiv
        1803.05407) and a part of what was there before (Wortsman et al., arXiv 2109.01903) keep
        what holds for others too; docs/LOG.md has what both gave here.
        """
        towers = deepcopy(self._start)
        for ours, mean in zip(towers.parameters(), self._mean.parameters(), strict=True):
            ours.lerp_(mean, self.recipe.moved)
        return towers

    def _begin(self, phase: str) -> None:
        self.phase, self.step, self._since = phase, 0, 0
        self._start = deepcopy(self.towers).requires_grad_(False)
        self._mean = deepcopy(self._start)
        scalars = [self.towers.log_temperature, self.towers.prior]
        groups = [{"params": list(self.towers.layers.parameters())}, {"params": scalars}]
        self._optimizer = torch.optim.AdamW(groups, lr=1.0, weight_decay=0.01)

    def _steps(self, phase: str) -> int:
        return self.recipe.warm_steps if phase == "warm" else self.recipe.steps

    def _train(self, watch: Watch) -> None:
        recipe, steps = self.recipe, self._steps(self.phase)
        while self.step < steps and self._since < recipe.patience:
            began = perf_counter()
            if self.phase == "warm":
                loss, told = self._lessons.supervised(self.towers, self.step)
            else:
                loss, told = self._lessons.reinforced(self.towers, self._start, self.step)
            self._descend(loss, steps)
            self.step += 1
            self._average()
            line = {"phase": self.phase, "step": self.step, "loss": loss.item(), **told}
            self._log(line | {"seconds": round(perf_counter() - began, 3)}, watch)
            if self.step % recipe.every == 0 or self.step == steps:
                self._look(watch)
            if self.step % _SAVED == 0 or self.step == steps:
                self._save()

    def _descend(self, loss: Tensor, steps: int) -> None:
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.towers.parameters(), 1.0)
        if not (torch.isfinite(loss) and torch.isfinite(norm)):
            last = self.out / LAST
            kept = f"; {last} stays as it was" if last.is_file() else ""
            raise InputError(
                f"the loss of step {self.step + 1} ({self.phase}) is not a number: "
                f"lower the learning rate{kept}"
            )
        rate = self.recipe.warm_rate if self.phase == "warm" else self.recipe.rate
        rate *= min(1.0, (self.step + 1) / _RISE) * (1.0 - 0.9 * self.step / steps)
        for group, times in zip(self._optimizer.param_groups, (1.0, _SCALARS), strict=True):
            group["lr"] = rate * times
        self._optimizer.step()

    @torch.no_grad()
    def _average(self) -> None:
        for mean, now in zip(self._mean.parameters(), self.towers.parameters(), strict=True):
            mean.lerp_(now, 1 / self.step)

    def _look(self, watch: Watch) -> None:
        watch({"phase": self.phase, "step": self.step, "queries": len(self.dev)})
        towers = self.served()
        (values,) = self.dev.values(towers, self.trunk, [self.recipe.blend])
        line = {
            "phase": self.phase,
            "step": self.step,
            "dev": {name: round(fmean(some), 6) for name, some in values.items()},
            "macro": round(macro(values), 6),
        }
        self._since += 1
        if line["macro"] > self.best["macro"]:
            self.best, self._since = line, 0
            save(self.out / BEST, {"towers": towers.state_dict(), "best": line})
        self._log(line, watch)

    def _log(self, line: dict[str, Any], watch: Watch) -> None:
        append(self.out / LOG, line)
        self._lines += 1
        watch(line)

    def _save(self) -> None:
        state = {
            "phase": self.phase, "step": self.step, "since": self._since, "best": self.best,
            "towers": self.towers.state_dict(), "start": self._start.state_dict(),
            "mean": self._mean.state_dict(),
            "optimizer": self._optimizer.state_dict(), "recipe": asdict(self.recipe),
            "lines": self._lines,
        }  # fmt: skip
        save(self.out / LAST, state)
