"""Long text within a budget: the quotes and what stands round them stay, and every gap is told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby

from rearank_agent.types import Quote

__all__ = ["Segment", "excerpt", "fair_share", "html_bytes"]

_AROUND = 120  # characters that stay on each side of a quote


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a text, or the gap in its place.

    Attributes:
        text: as it stands in the whole; empty for a gap.
        quoted: whether it is evidence.
        left_out: the characters of a gap.
    """

    text: str = ""
    quoted: bool = False
    left_out: int = 0


def excerpt(text: str, quotes: Sequence[Quote] = (), most: int | None = None) -> list[Segment]:
    """The text in pieces, cut at its quotes; they may overlap and come in any order.

    Args:
        most: the weight it may have, in bytes; None for no limit. Quotes are kept first, then
            what stands beside them, then the beginning.
    """
    kept = bytearray(b"\1" * len(text))
    if most is not None and html_bytes(text) > most:
        kept = _kept(text, quotes, most)
    quoted = bytearray(len(text))
    for quote in quotes:
        start, end = max(0, quote.start), min(len(text), quote.end)
        quoted[start:end] = b"\1" * (end - start)
    pieces, at = [], 0
    for (shown, evidence), run in groupby(zip(kept, map(int.__and__, kept, quoted), strict=True)):
        size = sum(1 for _ in run)
        piece = text[at : at + size]
        pieces.append(Segment(piece, bool(evidence)) if shown else Segment(left_out=size))
        at += size
    return pieces


def html_bytes(text: str) -> int:
    """The bytes of a text in a page, where `<` and its like take several."""
    return len(escape(text).encode(errors="replace"))


def fair_share(weights: Iterable[int], budget: int) -> int:
    """The most each may have so that all fit; the short leave to the long what they do not need."""
    rising = sorted(weights)
    for number, one in enumerate(rising):
        most = budget // (len(rising) - number)
        if one > most:
            return most
        budget -= one
    return rising[-1] if rising else 0


def _kept(text: str, quotes: Sequence[Quote], most: int) -> bytearray:
    """Which characters stay: the quotes in their order, what stands round them, the beginning."""
    kept = bytearray(len(text))
    for span in (
        *_spans(quotes, 0, len(text)),
        *_spans(quotes, _AROUND, len(text)),
        (0, len(text)),
    ):
        for at in range(*span):
            if not kept[at]:
                most -= html_bytes(text[at])
                if most < 0:
                    return kept
                kept[at] = 1
    return kept


def _spans(quotes: Sequence[Quote], around: int, size: int) -> list[tuple[int, int]]:
    return [(max(0, q.start - around), min(size, q.end + around)) for q in quotes]
