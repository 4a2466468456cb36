"""A ranking as an answer within a token budget: shorter reasons first, then fewer lines."""

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
from rearank_agent.present.threshold import from_score
from rearank_agent.text import shorten
from rearank_agent.types import Ranked, Ranking

__all__ = [
    "MIN_TOKENS", "check_budget",
    "rerank_answer", "search_answer",
]  # fmt: skip

MIN_TOKENS = 500
"""The smallest budget of an answer: room for a line and a note."""

# Per level, tried in this order: characters of each part; of notes, their number and characters.
_REASONS = (280, 140, 60, 0)
_SNIPPETS = (320, 200, 120, 40)
_PLACES = (400, 300, 200, 60)
_NOTES = ((8, 200), (8, 120), (4, 100), (1, 60))
_MAX_QUOTED = 0.8  # of a passage; a longer quote would return the passage itself

A = TypeVar("A", RerankAnswer, SearchAnswer)


def check_budget(max_tokens: int) -> None:
    """Raise InputError for a token budget below MIN_TOKENS."""
    if max_tokens < MIN_TOKENS:
        raise InputError(f"an answer needs at least {MIN_TOKENS} tokens, not {max_tokens}")


def rerank_answer(
    ranking: Ranking,
    top: int,
    rationale: bool,
    max_tokens: int,
    min_score: float | None = None,
) -> RerankAnswer:
    """The answer to a reranked list; the texts of the passages are not in it.

    Args:
        ranking: of passages that were given as a list.
        top: the maximum number of lines, from 1.
        rationale: whether to give reasons.
        max_tokens: for the text and the structured form together.
        min_score: the lowest relevance that is shown, 0 to 1; None for all.
    """
    passages, left_out = from_score(ranking, min_score)

    def make(lines: int, level: int) -> RerankAnswer:
        max_chars = _REASONS[level] if rationale else 0
        notes = _notes(ranking, left_out, *_NOTES[level])
        shown = tuple(
            RankedLine(one.rank, one.was, _score(one), _reason(one, max_chars, quote=True))
            for one in passages[:lines]
        )
        return RerankAnswer(**_head(ranking), notes=notes, ranking=shown)

    note = "reasons are shortened; explain has them in full"
    return _fit(max_tokens, min(top, len(passages)), make, note)


def search_answer(
    ranking: Ranking,
    top: int,
    rationale: bool,
    max_tokens: int,
    min_score: float | None = None,
) -> SearchAnswer:
    """The answer to a search of files; arguments as for `rerank_answer`."""
    passages, left_out = from_score(ranking, min_score)

    def make(lines: int, level: int) -> SearchAnswer:
        max_chars = _REASONS[level] if rationale else 0
        notes = _notes(ranking, left_out, *_NOTES[level])
        shown = tuple(
            Hit(
                one.rank,
                _tail(one.id, _PLACES[level]),
                _score(one),
                _snippet(one, _SNIPPETS[level]),
                _reason(one, max_chars, quote=False),
            )
            for one in passages[:lines]
        )
        return SearchAnswer(**_head(ranking), notes=notes, ranking=shown)

    note = "reasons and snippets are shortened; explain has the reasons, read the passages"
    return _fit(max_tokens, min(top, len(passages)), make, note)


def _size(answer: RerankAnswer | SearchAnswer) -> int:
    return estimate_tokens(as_text(answer)) + estimate_tokens(
        json.dumps(asdict(answer), ensure_ascii=False)
    )


def _fit(max_tokens: int, lines: int, make: Callable[[int, int], A], shortened: str) -> A:
    """The longest answer within the budget: first shorter reasons, with a note, then fewer."""
    for level in range(len(_REASONS)):
        answer = make(lines, level)
        if level:
            answer = _add_note(answer, shortened)
        if _size(answer) <= max_tokens:
            return answer

    if not lines:
        return answer

    def first(shown: int) -> A:
        note = f"{shown} of {lines} lines fit into {max_tokens} tokens"
        return _add_note(make(shown, level), note)

    return first(
        bisect_left(range(1, lines), True, key=lambda n: _size(first(n + 1)) > max_tokens) + 1
    )


def _add_note(answer: A, note: str) -> A:
    return replace(answer, notes=(*answer.notes, note))


def _head(ranking: Ranking) -> dict[str, Any]:
    return {
        "run": ranking.run,
        "total": len(ranking.passages),
        "scored": any(one.relevance is not None for one in ranking.passages),
        "partial": ranking.partial,
    }


def _notes(ranking: Ranking, left_out: str, faults: int, length: int) -> tuple[str, ...]:
    more = len(ranking.faults) - faults
    return (
        *filter(None, (left_out,)),
        *(fault_line(fault, length) for fault in ranking.faults[:faults]),
        *([f"{more} more notes; explain has them"] if more > 0 else []),
    )


def _score(ranked: Ranked) -> float | None:
    return None if ranked.relevance is None else round(ranked.relevance, 4)


def _reason(ranked: Ranked, max_chars: int, quote: bool) -> str:
    """The text of the rationale; without one, the evidence and the terms that are missing."""
    why = ranked.rationale
    if why is None or max_chars == 0:
        return ""
    if why.text:
        return shorten(why.text, max_chars)
    parts = []
    if quote and (text := _quote(ranked)) and len(text) < _MAX_QUOTED * len(ranked.text):
        parts.append(f"“{shorten(text, max_chars)}”")
    elif why.has:
        parts.append(f"has: {shorten(', '.join(why.has), max_chars)}")
    if why.lacks:
        parts.append(f"lacks: {shorten(', '.join(why.lacks), max_chars // 2)}")
    return "; ".join(parts)


def _quote(ranked: Ranked) -> str:
    quotes = ranked.rationale.quotes[:1] if ranked.rationale else ()
    return "".join(ranked.text[quote.start : quote.end] for quote in quotes)


def _snippet(ranked: Ranked, max_chars: int) -> str:
    """The text from its best sentence on, or from earlier where too little follows."""
    text, quotes = ranked.text, ranked.rationale.quotes[:1] if ranked.rationale else ()
    start = min([quote.start for quote in quotes] or [0])
    start = min(start, max(0, len(text) - max_chars))
    space = text.find(" ", start - 1, start + 20) if start else -1
    return shorten(text[start if space < 0 else space + 1 :], max_chars)


def _tail(place: str, max_chars: int) -> str:
    return place if len(place) <= max_chars else "…" + place[1 - max_chars :]
