"""The paper's augmentation for any collection (REARANK, arXiv 2505.20046, section 3).

Random sets are drawn from the head of a judged query's first-stage list; those without a training
signal are dropped and counted by reason. A set depends only on the seed, its collection, query and
number: more sets, other queries or another order of collections do not change it, and with `limit`
the queries of a small sample are among those of a larger one.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from random import Random
from typing import Any

from rearank_agent.data.collection import Collection
from rearank_agent.errors import InputError
from rearank_agent.metrics import ndcg
from rearank_agent.types import Passage, check_text
from rearank_training.rows.overlap import shared_queries
from rearank_training.rows.rows import Query, Row, Rows

__all__ = ["MIN_PASSAGES", "Augmentation", "Draw", "augment", "dropped_lines"]

MIN_PASSAGES = 5
"""A query with a shorter list has no rows, unless sets are smaller still."""

_MIN_SIZE = 2

_MIN_NDCG = 0.1
"""The lowest nDCG@10 of a set in its first-stage order, as in the paper; the ideal is the query's,
so a set whose best passages are far from the query's best is dropped too."""

_REASONS = {
    "repeated": "sets were drawn before",
    "irrelevant": "sets have no relevant passage",
    "equal": "sets have one grade throughout",
    "low": f"sets have nDCG@10 below {_MIN_NDCG}",
}
"""Why a set is dropped; the first reason that holds is counted."""

_SKIPPED = {
    "held_out": "queries are in a dev collection too",
    "unknown": "candidates are not in the corpus",
    "short": "queries have too few candidates",
}
"""What is left out before sets are drawn."""


@dataclass(frozen=True)
class Augmentation:
    """The settings of the augmentation.

    Attributes:
        sets: drawn per query, 1 or more. A list no longer than `size` is one set.
        size: passages in a set, 2 to `depth`.
        depth: candidates at the head of a list that sets are drawn from.
        seed: of the sets, and of the sample of queries.
        limit: judged queries that are used, of all collections together; None for all.
        shuffled: whether a set is shown in random order, and a list no longer than `size` is
            shown in `sets` orders; else in the first stage's.
        filtered: whether the paper's filter is applied: no set without relevant passages, with a
            single grade, or with nDCG@10 below 0.1 in the order shown.

    Raises:
        InputError: a number is out of its range.
    """

    sets: int = 50
    size: int = 20
    depth: int = 100
    seed: int = 0
    limit: int | None = None
    shuffled: bool = False
    filtered: bool = True

    def __post_init__(self) -> None:
        if not _MIN_SIZE <= self.size <= self.depth:
            raise InputError(f"the size of a set must be {_MIN_SIZE} to the depth, {self.depth}")
        if self.sets < 1 or (self.limit is not None and self.limit < 1):
            raise InputError("there must be at least 1 set, and 1 query")


Draw = Callable[[Query, Augmentation], Iterable[tuple[int, ...]]]
"""The sets of a query: ranks in its list, from 1, in the order in which they are shown."""


def augment(
    collections: Sequence[Collection],
    settings: Augmentation,
    dev: Sequence[Collection] = (),
    watch: Callable[[int, int], None] = lambda _done, _total: None,
    draw: Draw | None = None,
) -> Rows:
    """The rows of all collections.

    Args:
        collections: with first-stage lists and distinct names.
        settings: how many sets, how large, how deep.
        dev: held-out collections: a query that is in one of them, normalized, is left out.
        watch: called with the number of queries done, and of all.
        draw: gives the sets of a query, where they are not drawn at random.

    Raises:
        InputError: a collection has no lists, or shares more than 5% of its queries with `dev`;
            two have the same name; no row is left.
    """
    if len({one.name for one in collections}) < len(collections):
        raise InputError("two of the collections have the same name")
    held = shared_queries(collections, dev)
    sampled = _sample_queries(collections, held, settings)
    total, done = sum(map(len, sampled.values())), 0
    rows: list[Row] = []
    passages: dict[tuple[str, str], Passage] = {}
    facts = {}
    for one in collections:
        counts = Counter(queries=len(one.queries), held_out=len(held[one.name]))
        for query in (_query(one, name, settings.depth, counts) for name in sampled[one.name]):
            ideal = tuple(one.qrels[query.id].values())
            sets = (draw or _draw)(query, settings)
            if kept := list(_useful_rows(query, sets, ideal, settings, counts)):
                rows += kept
                passages |= {(one.name, name): one.corpus[name] for name in query.passages}
            watch(done := done + 1, total)
        facts[one.name] = _facts(one, settings.depth, counts)
    if not rows:
        raise InputError(f"no set has a training signal: {', '.join(dropped_lines(facts))}")
    provenance = {
        "augmentation": asdict(settings),
        "collections": facts,
        "dev": {one.name: one.hash for one in dev},
    }
    return Rows(tuple(rows), passages, provenance)


def dropped_lines(facts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What was left out and why: a line for each reason, with its count.

    Args:
        facts: the manifest's `collections`.
    """
    counts = Counter[str]()
    for one in facts.values():
        counts.update({name: one[name] for name in _SKIPPED} | one["dropped"])
    return [f"{counts[why]:,} {text}" for why, text in (_SKIPPED | _REASONS).items() if counts[why]]


def _sample_queries(
    collections: Sequence[Collection], held: Mapping[str, frozenset[str]], settings: Augmentation
) -> dict[str, list[str]]:
    """The queries that are used, of every collection in its own order."""
    free = {one.name: [q for q in one.queries if q not in held[one.name]] for one in collections}
    pairs = [(name, query) for name, queries in free.items() for query in queries]
    drawn = sorted(pairs, key=lambda pair: (_random(settings.seed, *pair).random(), pair))
    sampled = set(drawn[: settings.limit])
    return {name: [q for q in queries if (name, q) in sampled] for name, queries in free.items()}


def _random(*parts: str | int) -> Random:
    return Random(json.dumps(parts))  # noqa: S311 - reproducible, not secret


def _query(one: Collection, name: str, depth: int, counts: Counter[str]) -> Query:
    if one.lists is None:
        raise InputError(
            f"{one.name} has no first-stage lists: put candidates.jsonl into its folder"
        )
    text = one.queries[name]
    check_text(name + text, f"query {name!r} of {one.name}")
    listed = one.lists.get(name, ())
    found = tuple(passage for passage in listed if passage in one.corpus)
    counts["chosen"] += 1
    counts["unknown"] += len(listed) - len(found)
    grades = tuple(one.qrels[name].get(passage, 0) for passage in found[:depth])
    return Query(one.name, name, text, one.instruction, found[:depth], grades)


def _useful_rows(
    query: Query,
    sets: Iterable[tuple[int, ...]],
    ideal: Sequence[int],
    settings: Augmentation,
    counts: Counter[str],
) -> Iterator[Row]:
    """The sets with a training signal; every set is counted as kept or by why it is dropped."""
    seen = set()
    for number, ranks in enumerate(sets):
        row = Row(query, number, ranks)
        reason = _drop_reason(row, ideal) if settings.filtered else ""
        reason = "repeated" if ranks in seen else reason
        seen.add(ranks)
        counts[reason or "rows"] += 1
        if not reason:
            counts["best_already"] += row.initial == 1
            yield row
    counts["short"] += not seen


def _draw(query: Query, settings: Augmentation) -> Iterator[tuple[int, ...]]:
    ranks = range(1, len(query.passages) + 1)
    if len(ranks) < min(settings.size, MIN_PASSAGES):
        return
    if len(ranks) <= settings.size and not settings.shuffled:
        yield tuple(ranks)
        return
    for number in range(settings.sets):
        random = _random(settings.seed, query.collection, query.id, number)
        drawn = random.sample(ranks, min(settings.size, len(ranks)))
        yield tuple(drawn if settings.shuffled else sorted(drawn))


def _drop_reason(row: Row, ideal: Sequence[int]) -> str:
    gains = {max(grade, 0) for grade in row.grades}
    if gains == {0}:
        return "irrelevant"
    if len(gains) == 1:
        return "equal"
    return "low" if ndcg(row.grades, ideal, 10) < _MIN_NDCG else ""


def _facts(one: Collection, depth: int, counts: Counter[str]) -> dict[str, Any]:
    lists = {query: list(ids[:depth]) for query, ids in (one.lists or {}).items()}
    dropped = {reason: counts[reason] for reason in _REASONS}
    return {
        "hash": one.hash,
        "first_stage": one.listed,
        "lists": sha256(json.dumps(lists).encode()).hexdigest(),
        **{name: counts[name] for name in ("queries", "chosen", *_SKIPPED)},
        "sets": counts["rows"] + sum(dropped.values()),
        "dropped": dropped,
        "rows": counts["rows"],
        "best_already": counts["best_already"],
    }
