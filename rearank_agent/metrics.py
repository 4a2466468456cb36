"""Measures of an order, in plain Python: one definition for rewards, records and reports.

Gains are linear and discounts log2(rank + 1), as trec_eval and ir_measures have them
(Järvelin and Kekäläinen 2002). The gains of an order are listed best-ranked first.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log2

__all__ = ["dcg", "ndcg", "rbo", "recall", "rr"]


def dcg(gains: Sequence[float], k: int) -> float:
    """The sum over the first k ranks of gain / log2(rank + 1)."""
    return sum(gain / log2(rank + 1) for rank, gain in enumerate(gains[:k], 1))


def ndcg(gains: Sequence[float], ideal: Sequence[float], k: int) -> float:
    """The dcg of the order over the best there could be, 0 to 1; 0 where nothing has gain.

    Args:
        gains: of the ranked passages, in their order; negative grades count as 0.
        ideal: the gains of *all* judged passages of the query, in any order, also of those
            that were never ranked.
        k: the depth, at least 1.
    """
    best = dcg(sorted((gain for gain in ideal if gain > 0), reverse=True), k)
    return dcg([max(gain, 0) for gain in gains], k) / best if best else 0.0


def recall(gains: Sequence[float], relevant: int, k: int) -> float:
    """The share of the `relevant` passages of the query in the first k ranks, 0 to 1."""
    return sum(gain > 0 for gain in gains[:k]) / relevant if relevant else 0.0


def rr(gains: Sequence[float], k: int) -> float:
    """One over the rank of the first gain in the first k ranks; 0 if there is none."""
    return next((1 / rank for rank, gain in enumerate(gains[:k], 1) if gain > 0), 0.0)


def rbo(left: Sequence[object], right: Sequence[object], p: float) -> float:
    """How far two orders of the same things agree, 0 to 1, the head weighing most.

    Rank-biased overlap truncated at the shorter order, and divided by its weights' sum so
    that equal orders give 1 (Webber, Moffat and Zobel 2010, eq. 4 cut at depth k).

    Args:
        left: an order, without repeats.
        right: another.
        p: the persistence, between 0 and 1 exclusive; the head's weight falls as it rises.
    """
    depth = min(len(left), len(right))
    total = weights = 0.0
    seen: set[object] = set()
    overlap = 0
    for rank in range(1, depth + 1):
        pair = {left[rank - 1], right[rank - 1]}
        overlap += len(pair & seen) + (len(pair) == 1)
        seen |= pair
        weight = p ** (rank - 1)
        total += weight * overlap / rank
        weights += weight
    return total / weights if weights else 1.0
