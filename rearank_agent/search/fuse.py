"""Two first stages, one list: BM25 and the cosines of vectors.

The rules and numbers were chosen on whole corpora of nine development collections, for the embedded
policy and for a perfect judge: `python -m benchmarks.fusion`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from rearank_agent.policies.lexical import highest

__all__ = ["fused", "words_weight"]

Vector = NDArray[np.float32]

BEST_BY_WORDS = 5
"""Passages that are in every list, the best by BM25: exact words, ids and names do not lose."""
BM25_SHARE = 0.1
"""Of the best BM25 score, scaled to 1, beside a cosine."""
MIN_COSINE = 0.2
"""Of a passage that shares no word with the query."""
WORDS_WEIGHT = 0.8
"""Of BM25 beside cosines in the order of a list, both in standard deviations."""
_GROWS = 5 / 3
"""By how much of itself the weight of BM25 beside a policy grows until all passages have vectors:
the more of a list comes from vectors, the more BM25 says that the policy does not know."""


def fused(bm25: Vector, cosines: Vector, wanted: NDArray[np.bool_], depth: int) -> list[int]:
    """The positions of the candidates of both first stages, best first.

    While only a share of the passages has vectors, they get that share of the places.

    Args:
        bm25: [passages], 0 without a word of the query.
        cosines: [passages], not a number where there is no vector.
        wanted: [passages], whether a passage may be found.
        depth: how many, at most.
    """
    by_words = highest(bm25, wanted & (bm25 > 0), depth)
    known = wanted & ~np.isnan(cosines)
    if not known.any():
        return by_words
    scaled = bm25 / max(float(bm25[wanted].max()), 1e-9)
    near = known & ((bm25 > 0) | (cosines >= MIN_COSINE))
    both = highest(np.where(near, cosines, -2) + BM25_SHARE * scaled, near, depth)
    places = round(depth * known.sum() / wanted.sum())
    chosen = list(islice(_unique(by_words[:BEST_BY_WORDS], both[:places], by_words), depth))
    return _ordered(chosen, bm25, cosines) if chosen else []


def words_weight(share: float, names_identifier: bool) -> float:
    """How much more BM25's scores count beside a policy's than its blend says.

    Args:
        share: of the passages, those with vectors, 0 to 1.
        names_identifier: whether the query has one of several parts: then as if all had vectors.
    """
    return 1 + _GROWS * (1.0 if names_identifier else share)


def _unique(*lists: list[int]) -> Iterator[int]:
    return iter(dict.fromkeys(position for one in lists for position in one))


def _ordered(chosen: list[int], bm25: Vector, cosines: Vector) -> list[int]:
    """By cosine and BM25 together; one without a vector counts as an average one."""
    near = cosines[chosen]
    near = np.where(np.isnan(near), np.nanmean(near) if not np.isnan(near).all() else 0.0, near)
    scores = _deviations(near) + WORDS_WEIGHT * _deviations(bm25[chosen])
    return [chosen[place] for place in np.argsort(-scores, kind="stable")]


def _deviations(values: Vector) -> Vector:
    spread = float(values.std())
    found: Vector = (values - values.mean()) / spread if spread else np.zeros_like(values)
    return found
