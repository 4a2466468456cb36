"""Quotes for policies that only score: by the shipped encoder for the best, by terms for others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from rearank_agent.policies.embedded.policy import Embedded, EncodedQuery
from rearank_agent.policies.evidence import EvidenceQuery
from rearank_agent.text import QueryTerms, content_tokens
from rearank_agent.types import Passage, Quote, Rationale, Task, Window

__all__ = ["BEST", "QuotedQuery", "Quotes", "rationale_of_part"]

BEST = 10
"""Of a window's passages, the best ones whose quote the shipped encoder picks."""


@dataclass(frozen=True, slots=True)
class QuotedQuery:
    """A query, prepared to pick quotes for it."""

    terms: QueryTerms
    evidence: EvidenceQuery
    encoded: EncodedQuery


class Quotes:
    """Picks quotes; safe to share between threads."""

    def __init__(self) -> None:
        self._encoder = Embedded()
        self.fingerprint = f"quotes={self._encoder.fingerprint}"

    def query(self, text: str) -> QuotedQuery:
        """Prepare a query."""
        return QuotedQuery(
            QueryTerms.of(text), EvidenceQuery.of(text), self._encoder.encode_query(text)
        )

    def of_window(self, task: Task, window: Window, order: Window) -> tuple[Rationale, ...]:
        """The rationales of a window's passages.

        Args:
            task: has the query, and the passages at the window's positions.
            window: the positions.
            order: the places in the window, best first; the encoder picks the quotes of `BEST`.
        """
        query, best = self.query(task.query), set(order[:BEST])
        return tuple(
            self.rationale(query, task.candidates[position], by_vectors=place in best)
            for place, position in enumerate(window)
        )

    def rationale(
        self,
        query: QuotedQuery,
        passage: Passage,
        *,
        by_vectors: bool,
        start: int = 0,
        end: int | None = None,
    ) -> Rationale:
        """A passage's evidence and terms.

        Args:
            query: prepared.
            passage: any.
            by_vectors: whether the encoder picks the quote, which takes some 5 ms, 50
                without AVX-512.
            start, end: the part of the passage's content that may be quoted, in characters; its
                end is None.
        """

        def pick(text: str) -> tuple[Quote, ...]:
            if by_vectors:
                return self._encoder.quotes(query.encoded, replace(passage, text=text))
            return query.evidence.quotes(text)

        part = (start, len(passage.content) if end is None else end)
        return rationale_of_part(query.terms, passage, part, pick)


def rationale_of_part(
    terms: QueryTerms,
    passage: Passage,
    part: tuple[int, int],
    pick: Callable[[str], tuple[Quote, ...]],
) -> Rationale:
    """A passage's terms, and its evidence from a part of it.

    Args:
        terms: of the query.
        passage: any.
        part: where it begins and ends in the passage's content, title included, in characters.
        pick: the evidence in a text.
    """
    shift = len(passage.content) - len(passage.text)
    first, after = (max(0, place - shift) for place in part)
    quotes = pick(passage.text[first:after])
    moved = tuple(Quote(quote.start + first, quote.end + first) for quote in quotes)
    return terms.rationale(content_tokens(passage.content), moved)
