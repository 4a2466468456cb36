"""A passage's vectors as they are kept and compared: a few bits a number, the same for both.

A score is always worked out from this form, whether the passage was encoded now or long ago, so
that keeping vectors changes no score. `python -m benchmarks.kept_vectors` has what other forms
would cost and move.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from rearank_agent.errors import InputError
from rearank_agent.policies.embedded.encoder import Encoding, Vector, normalized
from rearank_agent.policies.embedded.similarity import PIECE, piece_means, span_means
from rearank_agent.types import Quote

__all__ = ["FORM", "PassageVectors"]

FORM = "int8+2bit.1"
"""Of what is kept; another form is another vector, which is worked out again."""

# The values of two bits that lose least of numbers with a normal distribution (Max, "Quantizing
# for Minimum Distortion", 1960, table I), in standard deviations, and all four of a byte at once.
_LEVELS = np.array([-1.510, -0.4528, 0.4528, 1.510], np.float32)
_BOUNDS = (_LEVELS[1:] + _LEVELS[:-1]) / 2
_PLACES = np.array([0, 2, 4, 6], np.uint8)
_DECODED = _LEVELS[(np.arange(256)[:, None] >> _PLACES) & 3]


@dataclass(frozen=True)
class PassageVectors:
    """One passage: the mean of its tokens, and the means of its pieces, 8 tokens each.

    A piece is the passage's mean, times its share, and a rest of which each number has two bits.

    Attributes:
        whole: [width], the mean of the tokens but for its length, in int8.
        shares: [pieces], how much of the mean at length 1 is in a piece, in float16.
        scales: [pieces], of the rests, in float16.
        codes: [pieces, width / 4], the rests in two bits a number, four to a byte.
        starts: [pieces + 1], where each piece begins, and where the last one ends, in characters.
        tokens: how many the pieces were made from.
        complete: whether the text was encoded to its end.
    """

    whole: NDArray[np.int8]
    shares: NDArray[np.float16]
    scales: NDArray[np.float16]
    codes: NDArray[np.uint8]
    starts: NDArray[np.uint32]
    tokens: int
    complete: bool

    @classmethod
    def of(cls, encoded: Encoding, empty: bool = False) -> PassageVectors:
        """Bring a passage into this form; an empty one is near to nothing."""
        if empty:
            encoded = replace(encoded, hidden=np.zeros_like(encoded.hidden))
        has_text = len(encoded.hidden) > 2
        inner = encoded.hidden[1:-1] if has_text else encoded.hidden
        whole = _in_int8(encoded.hidden.mean(axis=0))
        mean = normalized(whole.astype(np.float32))
        pieces = piece_means(inner)
        shares = (pieces @ mean).astype(np.float16)
        scales, codes = _in_two_bits(pieces - np.outer(shares.astype(np.float32), mean))
        begins = encoded.starts[1:-1][::PIECE] if has_text else np.zeros(1)
        starts = np.array([*begins, encoded.end], np.uint32)
        return cls(whole, shares, scales, codes, starts, len(inner), encoded.complete)

    @cached_property
    def mean(self) -> Vector:
        """[width], the mean of the tokens, at length 1."""
        return normalized(self.whole.astype(np.float32))

    @cached_property
    def pieces(self) -> Vector:
        """[pieces, width], the mean of each piece."""
        rests = _DECODED[self.codes].reshape(len(self.codes), -1)
        rests *= self.scales.astype(np.float32)[:, None]
        whole: Vector = rests + np.outer(self.shares.astype(np.float32), self.mean)
        return whole

    @cached_property
    def spans(self) -> Vector:
        """[spans, width], the mean of each span, at length 1."""
        return span_means(self.pieces, self.tokens)

    def nearness(self, query: Vector, quote: Quote, shift: int) -> float:
        """How near a sentence lies to a query, -1 to 1; 0 beyond what the encoder read.

        Args:
            query: its mean, at length 1.
            quote: the sentence.
            shift: where the text it is in begins in the passage's content, in characters.
        """
        start, end = quote.start + shift, quote.end + shift
        inside = np.minimum(self.starts[1:], end) - np.maximum(self.starts[:-1], float(start))
        weights = np.maximum(inside, 0).astype(np.float32)
        if end > self.starts[-1] or not weights.any():
            return 0.0
        return float(np.dot(query, normalized(weights @ self.pieces)))

    def to_bytes(self) -> bytes:
        """All but `whole`, as `from_bytes` reads it."""
        parts = (self.starts, self.shares, self.scales, self.codes)
        head = np.array([self.tokens, self.complete], np.uint16)
        return b"".join(part.tobytes() for part in (head, *parts))

    @classmethod
    def from_bytes(cls, whole: bytes, rest: bytes) -> PassageVectors:
        """What was kept.

        Raises:
            InputError: it is damaged.
        """
        try:
            tokens, complete = np.frombuffer(rest, np.uint16, 2).tolist()
            n = max(1, -(-tokens // PIECE))
            starts = np.frombuffer(rest, np.uint32, n + 1, 4)
            shares, scales = np.frombuffer(rest, np.float16, 2 * n, 8 + 4 * n).reshape(2, n)
            codes = np.frombuffer(rest, np.uint8, offset=8 + 8 * n).reshape(n, len(whole) // 4)
        except ValueError as error:
            raise InputError(f"kept vectors are damaged: {error}") from None
        mean = np.frombuffer(whole, np.int8)
        return cls(mean, shares, scales, codes, starts, tokens, bool(complete))


def _in_int8(vector: Vector) -> NDArray[np.int8]:
    """[width], the vector but for its length."""
    most = np.abs(vector).max()
    return np.rint(vector * (127 / most if most else 0.0)).astype(np.int8)


def _in_two_bits(rows: Vector) -> tuple[NDArray[np.float16], NDArray[np.uint8]]:
    """[rows] and [rows, width / 4]: the scale of each row, and two bits for each number.

    The scale is the one with which a row's projection on itself is kept.
    """
    deviations = np.sqrt(np.square(rows).mean(axis=1, keepdims=True))
    codes = np.searchsorted(_BOUNDS, rows / np.maximum(deviations, 1e-12)).astype(np.uint8)
    levels = _LEVELS[codes]
    squares, products = np.square(rows).sum(axis=1), (rows * levels).sum(axis=1)
    scales = (squares / np.maximum(products, 1e-12)).astype(np.float16)
    packed = (codes.reshape(len(rows), -1, 4) << _PLACES).sum(axis=2, dtype=np.uint8)
    return scales, packed
