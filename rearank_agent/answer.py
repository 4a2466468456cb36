"""A ranking as an agent reads it: short lines and their structured twin, within a budget.

The text alone is complete, since some hosts show a model only that, and so is the structured
form, since others show only that; both together stay within the budget.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

from rearank_agent.passage import Fault, Ranked, Ranking

__all__ = [
    "Answer", "Hit", "Line", "RerankAnswer", "SearchAnswer",
    "as_text", "noted", "rerank_answer", "search_answer", "tokens",
]  # fmt: skip

_BYTES_A_TOKEN = 3  # fewer than usual English has, so that a budget holds for other scripts too
_REASONS = (280, 140, 60, 0)  # characters of a reason, tried from the left
_SNIPPETS = (320, 200, 120, 60)
_NOTES = 8
_NOTE = 200
_IDS = 3
_ECHO = 0.8  # a quote of more than this part of a passage would give the passage back


@dataclass(frozen=True, slots=True)
class Line:
    """A passage in its new place.

    Attributes:
        rank: from 1.
        number: where it stood in the list that was given, from 1.
        score: falls with rank.
        reason: why, if it was asked for and the policy has a reason.
    """

    rank: int
    number: int
    score: float
    reason: str


@dataclass(frozen=True, slots=True)
class Hit:
    """A part of a file that answers.

    Attributes:
        rank: from 1.
        place: path and lines.
        score: falls with rank.
        snippet: its best sentence, or its beginning.
        reason: why, if it was asked for and the policy has a reason.
    """

    rank: int
    place: str
    score: float
    snippet: str
    reason: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What every ranking says of itself to an agent.

    Attributes:
        run: names the ranking, for `explain`.
        total: how many passages were ranked; the lines may be fewer.
        scored: whether the policy gave the scores; otherwise they only follow the ranks.
        partial: whether the deadline or a failure ended the work before its time.
        notes: what was mended, left out or cut.
    """

    run: str
    total: int
    scored: bool
    partial: bool
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RerankAnswer(Answer):
    """The passages of a list in their new order, best first."""

    ranking: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class SearchAnswer(Answer):
    """The parts of files that answer a query, best first."""

    ranking: tuple[Hit, ...]


A = TypeVar("A", RerankAnswer, SearchAnswer)


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
            Line(one.rank, one.was, round(one.score, 4), _reason(one, most, quote=True))
            for one in ranking.passages[:lines]
        )
        return RerankAnswer(**_head(ranking), ranking=shown)

    return _within(most_tokens, min(top, len(ranking.passages)), make)


def search_answer(ranking: Ranking, top: int, rationale: bool, most_tokens: int) -> SearchAnswer:
    """The parts of files a search found; arguments as for `rerank_answer`."""

    def make(lines: int, level: int) -> SearchAnswer:
        most = _REASONS[level] if rationale else 0
        shown = tuple(
            Hit(
                one.rank,
                one.passage.place or one.id,
                round(one.score, 4),
                _snippet(one, _SNIPPETS[level]),
                _reason(one, most, quote=False),
            )
            for one in ranking.passages[:lines]
        )
        return SearchAnswer(**_head(ranking), ranking=shown)

    return _within(most_tokens, min(top, len(ranking.passages)), make)


def as_text(answer: RerankAnswer | SearchAnswer) -> str:
    """The answer in lines: `rank. [number] score reason`, or `rank. place score` and a snippet."""
    if not answer.ranking:
        return "\n".join(["nothing found", *_noted(answer.notes)])
    shown = len(answer.ranking)
    order = "" if answer.scored else "; the policy gave an order only, the scores follow the ranks"
    head = f"run {answer.run}: {shown} of {answer.total}{order}"
    if answer.partial:
        head += "; partial: the best order so far"
    return "\n".join([head, *map(_line, answer.ranking), *_noted(answer.notes)])


def _line(one: Line | Hit) -> str:
    if isinstance(one, Line):
        return f"{one.rank}. [{one.number}] {one.score:.3f} {one.reason}".rstrip()
    return "\n   ".join(
        [f"{one.rank}. {one.place} {one.score:.3f}", one.snippet, *filter(None, [one.reason])]
    )


def _noted(notes: Sequence[str]) -> list[str]:
    return [f"note: {note}" for note in notes]


def tokens(text: str) -> int:
    """How many tokens a text may take, rather too many than too few."""
    return -(-len(text.encode()) // _BYTES_A_TOKEN)


def _size(answer: RerankAnswer | SearchAnswer) -> int:
    return tokens(as_text(answer)) + tokens(json.dumps(asdict(answer), ensure_ascii=False))


def _within(most: int, lines: int, make: Callable[[int, int], A]) -> A:
    """The fullest answer within the budget: first reasons get shorter, then lines fewer."""
    for level in range(len(_REASONS)):
        answer = make(lines, level)
        if level:
            answer = _with(answer, "reasons and snippets are shortened; explain has them whole")
        if _size(answer) <= most:
            return answer

    def cut(shown: int) -> A:
        return _with(make(shown, level), f"{shown} of {lines} lines fit into {most} tokens")

    return cut(bisect_left(range(1, lines), True, key=lambda n: _size(cut(n + 1)) > most) + 1)


def _with(answer: A, note: str) -> A:
    return replace(answer, notes=(*answer.notes, note))


def _head(ranking: Ranking) -> dict[str, Any]:
    more = len(ranking.faults) - _NOTES
    return {
        "run": ranking.run,
        "total": len(ranking.passages),
        "scored": all(one.scored for one in ranking.passages),
        "partial": ranking.partial,
        "notes": (
            *map(noted, ranking.faults[:_NOTES]),
            *([f"{more} more notes; explain has them"] if more > 0 else []),
        ),
    }


def noted(fault: Fault) -> str:
    """A fault in one line."""
    ids = ", ".join(fault.ids[:_IDS])
    more = f" and {len(fault.ids) - _IDS} more" if len(fault.ids) > _IDS else ""
    return _short(f"{fault.kind}: {fault.detail}{f' [{ids}{more}]' if ids else ''}", _NOTE)


def _reason(ranked: Ranked, most: int, quote: bool) -> str:
    """The judge's words; from a judge without words, evidence and what is lacking."""
    why = ranked.rationale
    if why is None or most == 0:
        return ""
    if why.text:
        return _short(why.text, most)
    parts = []
    if quote and (said := _quote(ranked)) and len(said) < _ECHO * len(ranked.text):
        parts.append(f"“{_short(said, most)}”")
    elif why.has:
        parts.append(f"has: {_short(', '.join(why.has), most)}")
    if why.lacks:
        parts.append(f"lacks: {_short(', '.join(why.lacks), most // 2)}")
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
    return _short(text[start if space < 0 else space + 1 :], most)


def _short(text: str, most: int) -> str:
    line = "".join(c for c in " ".join(text.split()) if c.isprintable())
    return line if len(line) <= most else line[: most - 1].rstrip() + "…"
