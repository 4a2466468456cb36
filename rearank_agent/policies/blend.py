"""Blending a policy's scores with the first stage's ranks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import fmean, pstdev
from typing import Literal

from rearank_agent.types import Step, Window

__all__ = ["BlendBy", "blended_order", "policy_scores", "z_scores"]

BlendBy = Literal["rank", "score"]
"""What of the first stage is blended with a policy's scores."""


def blended_order(
    order: Window,
    scores: list[float] | None,
    blend: float,
    first: Sequence[float] | None = None,
) -> tuple[Window, list[float] | None]:
    """The final order, and the score of every position behind it; None if there is none.

    Args:
        order: the policy's.
        scores: the policy's, by position; None for an order alone.
        blend: the weight of the first stage, whose order is that of the positions.
        first: the first stage's scores by position, in place of the logarithms of its ranks.
    """
    if blend and len(order) > 1:
        if scores is None:
            scores = [0.0] * len(order)
            for rank, position in enumerate(order, 1):
                scores[position] = -float(rank)
        first = first or [-math.log1p(rank) for rank in range(1, len(order) + 1)]
        both = zip(z_scores(scores), z_scores(first), strict=True)
        scores = [own + blend * given for own, given in both]
    if scores is None:
        return order, None
    return tuple(sorted(order, key=lambda position: -scores[position])), scores


def policy_scores(steps: Iterable[Step], n: int) -> list[float] | None:
    """The latest score of every one of n positions; None unless all have one."""
    scores: dict[int, float] = {}
    for step in steps:
        scores.update(zip(step.window, step.reply.scores or (), strict=False))
    return [scores[position] for position in range(n)] if len(scores) == n else None


def z_scores(values: Sequence[float]) -> list[float]:
    """The values in standard deviations from their mean; all 0 where they are equal."""
    mean, spread = fmean(values), pstdev(values)
    return [(value - mean) / spread if spread else 0.0 for value in values]
