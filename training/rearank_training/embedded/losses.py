"""The losses of a supervised and of a reinforcement step."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from rearank_agent.errors import InputError
from rearank_agent.policies.blend import blended_order
from rearank_training.embedded.lessons import Candidates, LessonSampler
from rearank_training.embedded.plackett_luce import (
    LOSSES,
    TEMPERATURE,
    advantages,
    blended_logits,
    kl_estimate,
    log_probability,
    margin_mse,
    order_mle,
    sample_orders,
)
from rearank_training.embedded.settings import EmbeddedSettings
from rearank_training.embedded.towers import PooledTexts, Towers
from rearank_training.embedded.trunk import Trunk
from rearank_training.embedded.windows import Window, WindowSampler
from rearank_training.rows.rewards import OrderReward, reward_by_name

__all__ = ["Losses"]


class Losses:
    """The losses of steps; a step's windows depend on seed and step number alone.

    Args:
        recipe: the settings.
        warm, reward: the windows of supervised and of reinforcement steps; the first from grades,
            or of a teacher; the second None where there is no reinforcement.
        trunk: the lower layers.

    Raises:
        InputError: the recipe's loss or reward is unknown.
    """

    def __init__(
        self,
        recipe: EmbeddedSettings,
        warm: WindowSampler | LessonSampler,
        reward: WindowSampler | None,
        trunk: Trunk,
    ) -> None:
        self._recipe, self._warm, self._reward, self._trunk = recipe, warm, reward, trunk
        if recipe.loss not in LOSSES:
            raise InputError(f"there is no loss {recipe.loss!r}; there are: {', '.join(LOSSES)}")
        reward_fn = reward_by_name(recipe.reward)
        if not isinstance(reward_fn, OrderReward):
            raise InputError(f"the reward {recipe.reward} is of text replies, not of orders")
        self._loss, self._reward_fn = LOSSES[recipe.loss], reward_fn

    def supervised(self, towers: Towers, step: int) -> tuple[Tensor, dict[str, Any]]:
        """The loss of a step's grades, or of what a teacher says."""
        if isinstance(self._warm, LessonSampler):
            return self._distilled(self._warm, towers, step), {}
        return self._graded(self._warm, towers, step), {}

    def _distilled(self, draws: LessonSampler, towers: Towers, step: int) -> Tensor:
        """Margin-MSE where a window has scores, ListMLE where it has an order."""
        recipe, losses = self._recipe, []
        lessons = draws.windows(step, recipe.windows, recipe.passages)
        found = self._scores(towers, [lesson.candidates for lesson in lessons])
        for lesson, scores in zip(lessons, found, strict=True):
            logits = towers.log_temperature.exp() * scores
            teacher = torch.tensor(lesson.scores, device=logits.device)
            losses.append(
                order_mle(logits, teacher.argsort(descending=True), recipe.places)
                if lesson.ordered
                else margin_mse(logits, teacher / TEMPERATURE)  # as wide as the base's logits
            )
        return torch.stack(losses).mean()

    def _graded(self, draws: WindowSampler, towers: Towers, step: int) -> Tensor:
        """Of queries of one collection, each against the passages of all (in-batch)."""
        recipe = self._recipe
        windows = draws.same_collection(step, recipe.warm_queries, recipe.warm_passages)
        texts = list(dict.fromkeys(text for window in windows for text in window.texts))
        pooled = self._pooled(towers, [*(window.query for window in windows), *texts])
        queries = pooled.subset(slice(len(windows)))
        passages = pooled.subset(slice(len(windows), None))
        logits = towers.log_temperature.exp() * towers.scores(queries, passages)
        grades = [[float(w.relevant.get(text, 0)) for text in texts] for w in windows]
        gains = torch.tensor(grades, device=logits.device)
        losses = [
            self._loss(row, gain) for row, gain in zip(logits, gains, strict=True) if gain.any()
        ]
        return torch.stack(losses).mean()

    def reinforced(self, towers: Towers, start: Towers, step: int) -> tuple[Tensor, dict[str, Any]]:
        """The policy-gradient loss of windows with sampled orders.

        Also the mean reward of the samples, the reward of the order that is served (`greedy`), and
        the KL to the start.
        """
        recipe = self._recipe
        if self._reward is None:
            raise InputError("reinforcement needs rows")
        windows = self._reward.any_collection(step, recipe.windows, recipe.passages)
        noise = torch.Generator().manual_seed(recipe.seed * 1_000_003 + step)
        losses, rewards, served, kls = [], [], [], []
        current = self._scores(towers, windows)
        with torch.no_grad():
            initial = self._scores(start, windows)
        for window, scores, first in zip(windows, current, initial, strict=True):
            logits, before = (blended_logits(one, recipe.blend) for one in (scores, first))
            orders = sample_orders(logits, recipe.samples, noise)
            values = self._reward_fn.of_orders(orders.tolist(), window.gains)
            now = log_probability(logits, orders, recipe.places)
            kl = kl_estimate(now, log_probability(before, orders, recipe.places))
            advantage = advantages(torch.tensor(values, device=now.device))
            gain = (advantage * now).mean() / recipe.places
            losses.append(recipe.kl * kl - gain)
            rewards.append(fmean(values))
            greedy, _ = blended_order(tuple(range(len(scores))), scores.tolist(), recipe.blend)
            served.append(self._reward_fn.of_order(greedy, window.gains))
            kls.append(kl.item())
        metrics = {"reward": fmean(rewards), "greedy": fmean(served), "kl": fmean(kls)}
        return torch.stack(losses).mean(), {name: round(v, 6) for name, v in metrics.items()}

    def _scores(self, towers: Towers, windows: Sequence[Window | Candidates]) -> list[Tensor]:
        """[passages] of each window: their similarities to its query."""
        texts = [text for window in windows for text in (window.query, *window.texts)]
        pooled, found = self._pooled(towers, texts), []
        ends = accumulate(1 + len(window.texts) for window in windows)
        for window, end in zip(windows, ends, strict=True):
            first = end - len(window.texts)
            query = pooled.subset(slice(first - 1, first))
            passages = pooled.subset(slice(first, end))
            found.append(towers.scores(query, passages)[0])
        return found

    def _pooled(self, towers: Towers, texts: Sequence[str]) -> PooledTexts:
        return towers.pool(towers.encode(self._trunk.states(texts, self._recipe.tokens)))
