"""A collection: queries, passages and judgements, of any source."""

from __future__ import annotations

from collections.abc import Collection as Ids
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rearank_agent.data.trec import Qrels, Run
from rearank_agent.errors import InputError
from rearank_agent.types import Passage

__all__ = ["Collection", "count_notes", "make_collection"]


@dataclass(frozen=True)
class Collection:
    """A test collection, to evaluate rankings on.

    Attributes:
        name: short, for tables.
        source: the path or id it was read from.
        queries: the text of every judged query.
        qrels: the grades of every query.
        corpus: the passages by id.
        hash: of everything it was read from.
        lists: the first stage's passages of every query, best first; None if it has none.
        listed: the name of the source of the lists.
        excluded: passages that are left out of a query's ranking.
        instruction: one sentence on what relevant means here; may be empty.
        notes: what was left out, with counts, for a person.
        part: whether it is a subset of its queries.
    """

    name: str
    source: str
    queries: Mapping[str, str]
    qrels: Qrels
    corpus: Mapping[str, Passage]
    hash: str
    lists: Run | None = None
    listed: str = ""
    excluded: Mapping[str, Ids[str]] | None = None
    instruction: str = ""
    notes: tuple[str, ...] = ()
    part: bool = False


def make_collection(
    queries: Mapping[str, str], qrels: Qrels, corpus: Any, **rest: Any
) -> Collection:
    """A collection of the queries that have text and judgements; notes count the others.

    Raises:
        InputError: no query is left.
    """
    kept = {q: text for q, text in queries.items() if q in qrels and text.strip()}
    if not kept:
        raise InputError(f"{rest['source']}: no query has both a text and judgements")
    counts = {
        "queries without judgements, left out": sum(q not in qrels for q in queries),
        "judged queries without text, left out": len(qrels) - len(kept),
    }
    judged = {q: qrels[q] for q in kept}
    return Collection(queries=kept, qrels=judged, corpus=corpus, notes=count_notes(counts), **rest)


def count_notes(counts: Mapping[str, int]) -> tuple[str, ...]:
    """A note for each count above 0."""
    return tuple(f"{what}: {count:,}" for what, count in counts.items() if count)
