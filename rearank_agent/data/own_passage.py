"""Queries that are passages of their own corpus, as in ArguAna and Quora."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rearank_agent.data.collection import Collection
from rearank_agent.text import words
from rearank_agent.types import Passage

__all__ = ["count_own_passages", "own_excluded"]

_LEFT_OUT = ("arguana", "quora")  # BEIR drops passages whose id is the query's
_SAME = 0.9  # of the different words of a query and a passage together


def own_excluded(name: str, queries: Iterable[str]) -> dict[str, frozenset[str]]:
    """The passage of each query's own id, where the collection of this name leaves it out."""
    known = any(one in name.lower() for one in _LEFT_OUT)
    return {query: frozenset([query]) for query in queries} if known else {}


def count_own_passages(collection: Collection) -> Mapping[str, int]:
    """How many queries have their own passage left out, and how many are passages and have not."""
    excluded = collection.excluded or {}
    left_out = {
        q for q in collection.queries if q in excluded.get(q, ()) and q in collection.corpus
    }
    kept = sum(
        _same_words(text, collection.corpus[query])
        for query, text in collection.queries.items()
        if query not in left_out and query in collection.corpus
    )
    return {
        "queries whose own passage (same id) is left out of their candidates": len(left_out),
        "queries that are passages too (same id and words), not left out of their candidates": kept,
    }


def _same_words(query: str, passage: Passage) -> bool:
    asked = set(words(query))
    texts = (set(words(text)) for text in (passage.text, passage.content))
    return any(len(asked & text) >= _SAME * len(asked | text) > 0 for text in texts)
