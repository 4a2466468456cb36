"""The similarity of query and passage: of their means, and span by span."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from rearank_agent.policies.embedded.encoder import Encoding, Vector, normalized
from rearank_agent.types import Quote

__all__ = ["SPAN", "PooledText", "SentenceNearness", "similarity"]

SPAN = 16
"""Tokens of a span; each begins in the middle of the one before."""
_TOKENS = 0.35
"""The weight of late interaction in a sentence's nearness, chosen as those of `EvidenceQuery`."""


@dataclass(frozen=True)
class PooledText:
    """A text's pooled vectors, computed when first used.

    Attributes:
        hidden: token vectors [tokens, width], with the two special tokens at the ends.
    """

    hidden: Vector

    @cached_property
    def mean(self) -> Vector:
        """[width], the mean of the token vectors, at length 1."""
        return normalized(self.hidden.mean(axis=0))

    @cached_property
    def tokens(self) -> Vector:
        """[tokens, width], the token vectors, each at length 1."""
        return normalized(self.hidden)

    @cached_property
    def spans(self) -> Vector:
        """[spans, width], the means of the spans, each at length 1."""
        return normalized(_means(self.hidden[1:-1] if len(self.hidden) > 2 else self.hidden))


def similarity(query: PooledText, passage: PooledText, span_weight: float) -> float:
    """-1 to 1: the cosine of the means and, with `span_weight`, the similarity of the spans.

    That is the mean, over the query's spans, of the highest cosine with one of the passage's:
    late interaction (ColBERT, arXiv 2004.12832, equation 3) between spans instead of tokens,
    since single tokens of this encoder say little.
    """
    mean = float(np.dot(query.mean, passage.mean))
    if not span_weight:
        return mean
    spans = float((query.spans @ passage.spans.T).max(axis=1).mean())
    return (1 - span_weight) * mean + span_weight * spans


@dataclass(frozen=True)
class SentenceNearness:
    """How near the sentences of an encoded passage lie to a query.

    The cosine of the means, and late interaction between tokens: this errs on other sentences, so
    that both together are right more often than either.

    Attributes:
        query: the query.
        encoded: the passage's title and text.
        shift: where the text begins in them, in characters.
    """

    query: PooledText
    encoded: Encoding
    shift: int

    def __call__(self, quote: Quote) -> float:
        """-1 to 1; 0 for a sentence beyond what the encoder read."""
        span = (quote.start + self.shift, quote.end + self.shift)
        first, after = np.searchsorted(self.encoded.starts[1:-1], span)
        if after == first or span[1] > self.encoded.end:
            return 0.0
        mean = normalized(self.encoded.hidden[1 + first : 1 + after].mean(axis=0))
        tokens = self._cosines[:, first:after].max(axis=1).mean()
        return float((1 - _TOKENS) * np.dot(self.query.mean, mean) + _TOKENS * tokens)

    @cached_property
    def _cosines(self) -> Vector:
        """[tokens of the query, tokens of the passage]"""
        cosines: Vector = self.query.tokens @ normalized(self.encoded.hidden[1:-1]).T
        return cosines


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
