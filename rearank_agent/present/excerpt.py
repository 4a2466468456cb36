"""Long text within a budget: the quotes and the text around them stay, gaps are counted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby

from rearank_agent.types import Quote

__all__ = ["Segment", "excerpt", "fair_share", "html_bytes"]

_CONTEXT = 120  # characters that stay on each side of a quote


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a text, or the gap in its place.

    Attributes:
        text: verbatim; empty for a gap.
        quoted: whether it is evidence.
        left_out: the number of characters in a gap.
    """

    text: str = ""
    quoted: bool = False
    left_out: int = 0


def excerpt(text: str, quotes: Sequence[Quote] = (), max_bytes: int | None = None) -> list[Segment]:
    """The text in segments, split at its quotes; these may overlap and come in any order.

    Args:
        max_bytes: the limit in bytes of HTML; None for none. Quotes are kept first, then the
            text around them, then the beginning.
    """
    kept = bytearray(b"\1" * len(text))
    if max_bytes is not None and html_bytes(text) > max_bytes:
        kept = _kept(text, quotes, max_bytes)
    quoted = bytearray(len(text))
    for quote in quotes:
        start, end = max(0, quote.start), min(len(text), quote.end)
        quoted[start:end] = b"\1" * (end - start)
    segments, at = [], 0
    for (shown, evidence), run in groupby(zip(kept, map(int.__and__, kept, quoted), strict=True)):
        size = sum(1 for _ in run)
        part = text[at : at + size]
        segments.append(Segment(part, bool(evidence)) if shown else Segment(left_out=size))
        at += size
    return segments


def html_bytes(text: str) -> int:
    """The bytes of a text in HTML, where characters like `<` are escaped."""
    return len(escape(text).encode(errors="replace"))


def fair_share(sizes: Iterable[int], budget: int) -> int:
    """The limit for each so that all fit; what the short ones do not need goes to the long."""
    rising = sorted(sizes)
    for number, one in enumerate(rising):
        share = budget // (len(rising) - number)
        if one > share:
            return share
        budget -= one
    return rising[-1] if rising else 0


def _kept(text: str, quotes: Sequence[Quote], max_bytes: int) -> bytearray:
    """A mask of the characters that stay: the quotes, the text around them, the beginning."""
    kept = bytearray(len(text))
    for span in (
        *_spans(quotes, 0, len(text)),
        *_spans(quotes, _CONTEXT, len(text)),
        (0, len(text)),
    ):
        for at in range(*span):
            if not kept[at]:
                max_bytes -= html_bytes(text[at])
                if max_bytes < 0:
                    return kept
                kept[at] = 1
    return kept


def _spans(quotes: Sequence[Quote], around: int, size: int) -> list[tuple[int, int]]:
    return [(max(0, q.start - around), min(size, q.end + around)) for q in quotes]
