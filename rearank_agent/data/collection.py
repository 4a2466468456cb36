"""A collection: queries, passages and judgements, wherever they came from."""

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
    """What a ranking is measured on.

    Attributes:
        name: a short one, for tables.
        source: where it was read from.
        queries: the text of every judged query.
        qrels: the grades of every query.
        corpus: the passages by id.
        hash: of all it was read from.
        lists: the first stage's passages of every query, best first; None if it has none.
        listed: what the lists were read from.
        excluded: passages that must not be found for a query.
        instruction: one sentence on what relevant means here; may be empty.
        notes: what was left out, with counts, for a person.
        part: whether only some of its queries were chosen.
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
    """A collection of the queries that have text and judgements; what has not is noted.

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
    """What there is any of, and how much, as notes."""
    return tuple(f"{what}: {count:,}" for what, count in counts.items() if count)
