"""A ranking as an answer within a budget of tokens: reasons get shorter, then lines fewer."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any, TypeVar

from rearank_agent.errors import InputError
from rearank_agent.present.answer import (
    Hit,
    RankedLine,
    RerankAnswer,
    SearchAnswer,
    as_text,
    estimate_tokens,
)
from rearank_agent.present.faults import fault_line
from rearank_agent.text import shorten
from rearank_agent.types import Ranked, Ranking

__all__ = [
    "MIN_TOKENS", "check_budget",
    "rerank_answer", "search_answer",
]  # fmt: skip

MIN_TOKENS = 500
"""Of an answer: with fewer there would be no room for a line and a note."""

# Characters of each part of an answer, and how many notes: tried one after the other.
_REASONS = (280, 140, 60, 0)
_SNIPPETS = (320, 200, 120, 40)
_PLACES = (400, 300, 200, 60)
_NOTES = ((8, 200), (8, 120), (4, 100), (1, 60))
_ECHO = 0.8  # a quote of more than this part of a passage would give the passage back

A = TypeVar("A", RerankAnswer, SearchAnswer)


def check_budget(most_tokens: int) -> None:
    """Raise InputError if an answer of so few tokens would hold nothing."""
    if most_tokens < MIN_TOKENS:
        raise InputError(f"an answer needs {MIN_TOKENS} tokens at least, not {most_tokens}")


def rerank_answer(ranking: Ranking, top: int, rationale: bool, most_tokens: int) -> RerankAnswer:
    """The order of a list of passages, which are never given back.

    Args:
        ranking: of passages that were given as a list.
        top: the most lines, from 1.
        rationale: whether to say why.
        most_tokens: of the text and the structured form together.
    """

    def make(lines: int, level: int) -> RerankAnswer:
        most = _REASONS[level] if rationale else 0
        shown = tuple(
            RankedLine(one.rank, one.was, round(one.score, 4), _reason(one, most, quote=True))
            for one in ranking.passages[:lines]
        )
        return RerankAnswer(**_head(ranking, *_NOTES[level]), ranking=shown)

    return _within(most_tokens, min(top, len(ranking.passages)), make)


def search_answer(ranking: Ranking, top: int, rationale: bool, most_tokens: int) -> SearchAnswer:
    """The parts of files a search found; arguments as for `rerank_answer`."""

    def make(lines: int, level: int) -> SearchAnswer:
        most = _REASONS[level] if rationale else 0
        shown = tuple(
            Hit(
                one.rank,
                _end(one.id, _PLACES[level]),
                round(one.score, 4),
                _snippet(one, _SNIPPETS[level]),
                _reason(one, most, quote=False),
            )
            for one in ranking.passages[:lines]
        )
        return SearchAnswer(**_head(ranking, *_NOTES[level]), ranking=shown)

    return _within(most_tokens, min(top, len(ranking.passages)), make)


def _size(answer: RerankAnswer | SearchAnswer) -> int:
    return estimate_tokens(as_text(answer)) + estimate_tokens(
        json.dumps(asdict(answer), ensure_ascii=False)
    )


def _within(most: int, lines: int, make: Callable[[int, int], A]) -> A:
    """The fullest answer within the budget: first reasons get shorter, then lines fewer."""
    for level in range(len(_REASONS)):
        answer = make(lines, level)
        if level:
            answer = _with(answer, "reasons and snippets are shortened; explain has them whole")
        if _size(answer) <= most:
            return answer

    if not lines:
        return answer

    def cut(shown: int) -> A:
        return _with(make(shown, level), f"{shown} of {lines} lines fit into {most} tokens")

    return cut(bisect_left(range(1, lines), True, key=lambda n: _size(cut(n + 1)) > most) + 1)


def _with(answer: A, note: str) -> A:
    return replace(answer, notes=(*answer.notes, note))


def _head(ranking: Ranking, notes: int, length: int) -> dict[str, Any]:
    more = len(ranking.faults) - notes
    return {
        "run": ranking.run,
        "total": len(ranking.passages),
        "scored": all(one.scored for one in ranking.passages),
        "partial": ranking.partial,
        "notes": (
            *(fault_line(fault, length) for fault in ranking.faults[:notes]),
            *([f"{more} more notes; explain has them"] if more > 0 else []),
        ),
    }


def _reason(ranked: Ranked, most: int, quote: bool) -> str:
    """The judge's words; from a judge without words, evidence and what is lacking."""
    why = ranked.rationale
    if why is None or most == 0:
        return ""
    if why.text:
        return shorten(why.text, most)
    parts = []
    if quote and (said := _quote(ranked)) and len(said) < _ECHO * len(ranked.text):
        parts.append(f"“{shorten(said, most)}”")
    elif why.has:
        parts.append(f"has: {shorten(', '.join(why.has), most)}")
    if why.lacks:
        parts.append(f"lacks: {shorten(', '.join(why.lacks), most // 2)}")
    return "; ".join(parts)


def _quote(ranked: Ranked) -> str:
    quotes = ranked.rationale.quotes[:1] if ranked.rationale else ()
    return "".join(ranked.text[quote.start : quote.end] for quote in quotes)


def _snippet(ranked: Ranked, most: int) -> str:
    """The text from its best sentence on; from earlier where too little follows."""
    text, quotes = ranked.text, ranked.rationale.quotes[:1] if ranked.rationale else ()
    start = min([quote.start for quote in quotes] or [0])
    start = min(start, max(0, len(text) - most))
    space = text.find(" ", start - 1, start + 20) if start else -1
    return shorten(text[start if space < 0 else space + 1 :], most)


def _end(place: str, most: int) -> str:
    return place if len(place) <= most else "…" + place[1 - most :]
