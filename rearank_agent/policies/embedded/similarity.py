"""How near a passage is to a query: as wholes, and part by part."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from rearank_agent.policies.embedded.encoder import Vector, normalized

__all__ = ["SPAN", "PooledText", "similarity"]

SPAN = 16
"""Tokens of a part; each begins in the middle of the one before."""


@dataclass(frozen=True)
class PooledText:
    """A text as it is compared; what nobody asks for is not worked out.

    Attributes:
        hidden: token vectors [tokens, width], with the two special tokens at the ends.
    """

    hidden: Vector

    @cached_property
    def whole(self) -> Vector:
        """[width], the mean of the token vectors, at length 1."""
        return normalized(self.hidden.mean(axis=0))

    @cached_property
    def parts(self) -> Vector:
        """[parts, width], the means of the spans, each at length 1."""
        return normalized(_means(self.hidden[1:-1] if len(self.hidden) > 2 else self.hidden))


def similarity(query: PooledText, passage: PooledText, share: float) -> float:
    """-1 to 1: the cosine of the wholes and, with a weight of `share`, of the parts.

    Of the parts it is the mean, over those of the query, of the highest cosine with one of the
    passage: late interaction (ColBERT, arXiv 2004.12832, equation 3) between spans instead of
    tokens, since single tokens of this encoder say little.
    """
    whole = float(np.dot(query.whole, passage.whole))
    if not share:
        return whole
    parts = float((query.parts @ passage.parts.T).max(axis=1).mean())
    return (1 - share) * whole + share * parts


def _means(tokens: Vector) -> Vector:
    """The mean of every span; a shorter text, or the rest of one, is a span of its own."""
    n = len(tokens)
    if n <= SPAN:
        only: Vector = tokens.mean(axis=0, keepdims=True)
        return only
    first = np.minimum(np.arange(0, n - SPAN // 2, SPAN // 2), n - SPAN)
    sums = np.concatenate([np.zeros_like(tokens[:1]), np.cumsum(tokens, axis=0)])
    means: Vector = (sums[first + SPAN] - sums[first]) / SPAN
    return means
