"""What a step of training learns from: the loss of a supervised step, and of a reinforced one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from rearank_agent.errors import InputError
from rearank_training.embedded.plackett_luce import (
    LOSSES,
    advantages,
    kl_estimate,
    log_probability,
    sample_orders,
)
from rearank_training.embedded.settings import EmbeddedSettings
from rearank_training.embedded.towers import PooledTexts, Towers
from rearank_training.embedded.trunk import Trunk
from rearank_training.embedded.windows import Window, WindowSampler
from rearank_training.rows.rewards import OrderReward, reward_by_name

__all__ = ["Losses"]


class Losses:
    """Losses, by seed and step.

    Args:
        recipe: how.
        warm, reward: what supervised and reinforced steps draw from.
        trunk: the lower layers.

    Raises:
        InputError: the recipe's loss or reward is unknown.
    """

    def __init__(
        self, recipe: EmbeddedSettings, warm: WindowSampler, reward: WindowSampler, trunk: Trunk
    ) -> None:
        self._recipe, self._warm, self._reward, self._trunk = recipe, warm, reward, trunk
        if recipe.loss not in LOSSES:
            raise InputError(f"there is no loss {recipe.loss!r}; there are: {', '.join(LOSSES)}")
        reward_of = reward_by_name(recipe.reward)
        if not isinstance(reward_of, OrderReward):
            raise InputError(f"the reward {recipe.reward} is of replies in words, not of orders")
        self._loss, self._reward_of = LOSSES[recipe.loss], reward_of

    def supervised(self, towers: Towers, step: int) -> tuple[Tensor, dict[str, Any]]:
        """The loss of queries of one collection, each of which sees the passages of all."""
        recipe = self._recipe
        windows = self._warm.alike(step, recipe.warm_queries, recipe.warm_passages)
        texts = list(dict.fromkeys(text for window in windows for text in window.texts))
        looks = self._looks(towers, [*(window.query for window in windows), *texts])
        queries, passages = looks.some(slice(len(windows))), looks.some(slice(len(windows), None))
        logits = towers.log_temperature.exp() * towers.scores(queries, passages)
        judged = [[float(w.judged.get(text, 0)) for text in texts] for w in windows]
        gains = torch.tensor(judged, device=logits.device)
        losses = [
            self._loss(row, gain) for row, gain in zip(logits, gains, strict=True) if gain.any()
        ]
        return torch.stack(losses).mean(), {}

    def reinforced(self, towers: Towers, start: Towers, step: int) -> tuple[Tensor, dict[str, Any]]:
        """The loss of windows whose sampled orders are compared; their mean reward, and the KL."""
        recipe = self._recipe
        windows = self._reward.apart(step, recipe.windows, recipe.passages)
        noise = torch.Generator().manual_seed(recipe.seed * 1_000_003 + step)
        losses, rewards, drifts = [], [], []
        learned = self._logits(towers, windows)
        with torch.no_grad():
            begun = self._logits(start, windows)
        for window, logits, before in zip(windows, learned, begun, strict=True):
            orders = sample_orders(logits, recipe.samples, noise)
            worth = self._reward_of.of_orders(orders.tolist(), window.gains)
            now = log_probability(logits, orders, recipe.places)
            away = kl_estimate(now, log_probability(before, orders, recipe.places))
            better = advantages(torch.tensor(worth, device=now.device))
            gain = (better * now).mean() / recipe.places
            losses.append(recipe.kl * away - gain)
            rewards.append(fmean(worth))
            drifts.append(away.item())
        told = {"reward": round(fmean(rewards), 6), "kl": round(fmean(drifts), 6)}
        return torch.stack(losses).mean(), told

    def _logits(self, towers: Towers, windows: Sequence[Window]) -> list[Tensor]:
        texts = [text for window in windows for text in (window.query, *window.texts)]
        looks, found = self._looks(towers, texts), []
        ends = accumulate(1 + len(window.texts) for window in windows)
        for window, end in zip(windows, ends, strict=True):
            first = end - len(window.texts)
            query, passages = looks.some(slice(first - 1, first)), looks.some(slice(first, end))
            ranks = torch.tensor([float(rank) for rank in window.ranks])
            found.append(towers.logits(towers.scores(query, passages)[0], ranks))
        return found

    def _looks(self, towers: Towers, texts: Sequence[str]) -> PooledTexts:
        return towers.looks(towers.encode(self._trunk.states(texts, self._recipe.tokens)))
