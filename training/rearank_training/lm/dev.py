"""Evaluation on dev: held-out lists, ranked by a model in training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any

from rearank_agent.llm.checkpoint import PromptConfig
from rearank_agent.schedules import half_sliding
from rearank_agent.types import Window
from rearank_training.lm.prompts import Example
from rearank_training.lm.replies import RatedReply, Samples, rate, shares
from rearank_training.lm.rollout import Generate, Rollout, roll_out
from rearank_training.rows.heldout import HeldOutQuery, macro
from rearank_training.rows.rewards import Rearank, Reward

__all__ = ["Dev", "dev_example"]


@dataclass(frozen=True)
class Dev:
    """Held-out lists, and how a model ranks them: with its prompt config, schedule and parser.

    Attributes:
        reward: of the replies about their windows.
    """

    queries: Sequence[HeldOutQuery]
    config: PromptConfig
    reward: Reward = field(default_factory=Rearank)

    def evaluate(self, generate: Generate, samples: Samples | None = None) -> dict[str, Any]:
        """nDCG@10 of every collection, their mean, the share of repaired replies, and `shares`.

        Args:
            samples: gets every reply with its reward.
        """
        schedule = half_sliding(self.config.window)
        examples = [
            replace(dev_example(one), name=f"{one.collection}/dev-{number}")
            for number, one in enumerate(self.queries, 1)
        ]
        rollouts = [Rollout(schedule, one) for one in examples]
        found: list[RatedReply] = []

        def rated(one: Rollout, window: Window, text: str) -> None:
            shown = [one.example.grades[position] for position in window]
            name = f"{one.example.name}/turn-{len(one.replies) + 1}"
            found.append(rate(self.reward, name, one.example.query, text, shown))

        roll_out(rollouts, self.config, generate, seen=rated)
        values: dict[str, list[float]] = {}
        repaired = []
        for query, rollout in zip(self.queries, rollouts, strict=True):
            values.setdefault(query.collection, []).append(query.ndcg(rollout.order or ()))
            repaired += [bool(reply.faults) for turn in rollout.replies for reply in turn]
        if samples:
            samples.extend(found)
        means = {name: round(fmean(each), 6) for name, each in values.items()}
        share = round(fmean(repaired), 6)
        mean = round(macro(values), 6)
        return {"dev": means, "macro": mean, "mended": share, **shares(found)}


def dev_example(one: HeldOutQuery) -> Example:
    """A held-out query as an example."""
    return Example("", one.query, one.instruction, one.passages, one.grades)
