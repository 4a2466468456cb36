"""The answers agents get: a ranking as lines of text, and the same in a structured form.

The text alone is complete, since some hosts show a model only that, and so is the structured
form, since others show only that. `truncate.py` makes them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rearank_agent.text import one_line

__all__ = [
    "Answer", "Hit", "RankedLine", "RerankAnswer", "SearchAnswer", "as_text", "estimate_tokens",
]  # fmt: skip

_BYTES_PER_TOKEN = 3  # fewer than in English text, so that a budget holds for other scripts too


@dataclass(frozen=True, slots=True)
class RankedLine:
    """A passage of a reranked list.

    Attributes:
        rank: from 1.
        number: its position in the list that was given, from 1.
        score: the policy's own, 0 to 1; None where it gave none that compares.
        reason: the rationale, if it was asked for and the policy has one.
    """

    rank: int
    number: int
    score: float | None
    reason: str


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage found in a file.

    Attributes:
        rank: from 1.
        place: path and lines.
        score: as in `RankedLine`; the order counts BM25's rank too.
        snippet: the passage from its best sentence on, or its beginning.
        reason: the rationale, if it was asked for and the policy has one.
    """

    rank: int
    place: str
    score: float | None
    snippet: str
    reason: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The fields of every answer.

    Attributes:
        run: the id of the ranking, for `explain`.
        total: how many passages were ranked; the lines may be fewer.
        scored: whether any passage has a score.
        partial: whether the deadline or a failure ended the work early.
        notes: what was repaired, left out or truncated.
    """

    run: str
    total: int
    scored: bool
    partial: bool
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RerankAnswer(Answer):
    """The passages of a list in their new order, best first."""

    ranking: tuple[RankedLine, ...]


@dataclass(frozen=True, slots=True)
class SearchAnswer(Answer):
    """The parts of files that answer a query, best first."""

    ranking: tuple[Hit, ...]


def as_text(answer: RerankAnswer | SearchAnswer) -> str:
    """The answer in lines: `rank. [number] score reason`, or `rank. place score` and a snippet.

    There is a line for the head and each note, and one to three for each passage.
    """
    return "\n".join(map(one_line, _lines(answer)))


def _lines(answer: RerankAnswer | SearchAnswer) -> Iterator[str]:
    yield _head(answer)
    for one in answer.ranking:
        yield from _of_passage(one)
    yield from (f"note: {note}" for note in answer.notes)


def _head(answer: RerankAnswer | SearchAnswer) -> str:
    if not answer.total:
        return f"run {answer.run}: nothing found"
    shown = len(answer.ranking)
    order = "" if answer.scored else "; the policy gave an order, no scores"
    head = f"run {answer.run}: {shown} of {answer.total}{order}"
    if answer.partial:
        head += "; partial: the best order so far"
    return head


def _of_passage(one: RankedLine | Hit) -> list[str]:
    if isinstance(one, RankedLine):
        return [f"{one.rank}. [{one.number}]{_score(one)} {one.reason}".rstrip()]
    below = (f"   {text}" for text in (one.snippet, *filter(None, [one.reason])))
    return [f"{one.rank}. {one.place}{_score(one)}", *below]


def _score(one: RankedLine | Hit) -> str:
    return "" if one.score is None else f" {one.score:.3f}"


def estimate_tokens(text: str) -> int:
    """An upper estimate of the tokens of a text."""
    return -(-len(text.encode()) // _BYTES_PER_TOKEN)
