"""The similarity of query and passage: of their means, and span by span."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from rearank_agent.policies.embedded.encoder import Encoding, Vector, normalized
from rearank_agent.types import Quote

__all__ = [
    "PIECE", "SPAN", "Pooled", "PooledText", "SentenceNearness", "piece_means", "similarity",
    "span_means",
]  # fmt: skip

PIECE = 8
"""Tokens of a piece; the last one of a text may have fewer."""
SPAN = 2 * PIECE
"""Tokens of a span, which is two neighbouring pieces; each piece but the ends is in two spans."""
_TOKENS = 0.35
"""The weight of late interaction in a sentence's nearness, chosen as those of `EvidenceQuery`."""


class Pooled(Protocol):
    """A text's vectors for comparison, each at length 1."""

    @property
    def mean(self) -> Vector:
        """[width], of the whole text."""
        ...

    @property
    def spans(self) -> Vector:
        """[spans, width]"""
        ...


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
        inner = self.hidden[1:-1] if len(self.hidden) > 2 else self.hidden
        return span_means(piece_means(inner), len(inner))


def similarity(query: Pooled, passage: Pooled, span_weight: float) -> float:
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


def piece_means(tokens: Vector) -> Vector:
    """[pieces, width], the mean of each piece of a text's tokens [tokens, width], at least one."""
    starts = np.arange(0, len(tokens), PIECE)
    sums = np.add.reduceat(tokens, starts, axis=0)
    return np.divide(sums, _sizes(len(starts), len(tokens)), dtype=np.float32)


def span_means(pieces: Vector, tokens: int) -> Vector:
    """[spans, width], the mean of each span at length 1; a text of one piece is one span.

    Args:
        pieces: the means of the pieces, [pieces, width].
        tokens: how many they were made from.
    """
    sums = pieces * _sizes(len(pieces), tokens)
    return normalized(sums[:-1] + sums[1:] if len(pieces) > 1 else sums)


def _sizes(pieces: int, tokens: int) -> Vector:
    """[pieces, 1], the tokens of each piece."""
    sizes = np.full((pieces, 1), PIECE, np.float32)
    sizes[-1] = tokens - PIECE * (pieces - 1)
    return sizes
