"""The paper's augmentation for any collection (REARANK, arXiv 2505.20046, section 3).

Many random sets are drawn from the head of a judged query's first-stage list; those that teach
nothing are dropped, and counted by why. A set depends on the seed, its collection, query and
number alone: more sets, other queries or another order of collections leave it as it is, and
with `limit` the queries of a small sample are among those of a larger one.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from random import Random
from typing import Any
from unicodedata import normalize

from rearank_agent.data.collection import Collection
from rearank_agent.errors import InputError
from rearank_agent.types import Passage, check_text
from rearank_training.rows.rows import Query, Row, Rows

__all__ = ["MAX_SHARED", "MIN_PASSAGES", "Augmentation", "augment", "left_out", "normalized_query"]

MIN_PASSAGES = 5
"""Passages of a set. A shorter list says too little of an order: its query has no rows."""

_LOWEST = 0.1
"""nDCG@10 of a set in its first-stage order, as the paper has it."""

MAX_SHARED = 0.05
"""Of a collection's queries: more of them in dev collections are no accident."""

_REASONS = {
    "repeated": "sets were drawn before",
    "irrelevant": "sets have no relevant passage",
    "equal": "sets have one grade throughout",
    "low": f"sets have nDCG@10 below {_LOWEST}",
}
"""Why a set is dropped; the first that holds counts."""

_BEFORE = {
    "held_out": "queries are in a dev collection too",
    "unknown": "candidates are not in the corpus",
    "short": f"queries have fewer than {MIN_PASSAGES} candidates",
}
"""What is left out before anything is drawn."""


@dataclass(frozen=True)
class Augmentation:
    """How rows are made.

    Attributes:
        sets: how many are drawn of a query. A list no longer than `size` is one set, whole.
        size: passages in a set.
        depth: how much of a list is drawn from.
        seed: of the sets, and of the sample of queries.
        limit: how many judged queries are used, of all collections together; None for all.
        filtered: whether sets that teach little are left out; the paper's filter.

    Raises:
        InputError: a number makes no sense.
    """

    sets: int = 50
    size: int = 20
    depth: int = 100
    seed: int = 0
    limit: int | None = None
    filtered: bool = True

    def __post_init__(self) -> None:
        if not MIN_PASSAGES <= self.size <= self.depth:
            raise InputError(f"the size of a set must be {MIN_PASSAGES} to the depth, {self.depth}")
        if self.sets < 1 or (self.limit is not None and self.limit < 1):
            raise InputError("there must be at least 1 set, and 1 query")


def augment(
    collections: Sequence[Collection],
    how: Augmentation,
    dev: Sequence[Collection] = (),
    watch: Callable[[int, int], None] = lambda _done, _total: None,
) -> Rows:
    """The rows of all collections.

    Args:
        collections: with first-stage lists, and a name of its own each.
        how: how many, how large, how deep.
        dev: what is held out: a query whose words are those of a query there is left out.
        watch: is told how many of how many queries are done.

    Raises:
        InputError: a collection has no lists, or shares more than 5% of its queries with `dev`;
            two have one name; no row is left.
    """
    if len({one.name for one in collections}) < len(collections):
        raise InputError("two of the collections have one name")
    held = _held_out(collections, dev)
    chosen = _chosen(collections, held, how)
    total, done = sum(map(len, chosen.values())), 0
    rows: list[Row] = []
    passages: dict[tuple[str, str], Passage] = {}
    about = {}
    for one in collections:
        counts = Counter(queries=len(one.queries), held_out=len(held[one.name]))
        for query in (_query(one, name, how.depth, counts) for name in chosen[one.name]):
            if kept := list(_kept(query, how, counts)):
                rows += kept
                passages |= {(one.name, name): one.corpus[name] for name in query.passages}
            watch(done := done + 1, total)
        about[one.name] = _about(one, how.depth, counts)
    if not rows:
        raise InputError(f"no set is worth learning from: {', '.join(left_out(about))}")
    made = {
        "augmentation": asdict(how),
        "collections": about,
        "dev": {one.name: one.hash for one in dev},
    }
    return Rows(tuple(rows), passages, made)


def left_out(about: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What was left out and why, in words.

    Args:
        about: the manifest's `collections`.
    """
    counts = Counter[str]()
    for one in about.values():
        counts.update({name: one[name] for name in _BEFORE} | one["dropped"])
    return [f"{counts[why]:,} {told}" for why, told in (_BEFORE | _REASONS).items() if counts[why]]


def _held_out(
    collections: Sequence[Collection], dev: Sequence[Collection]
) -> dict[str, frozenset[str]]:
    """The queries of every collection whose words stand in a dev collection."""
    where = {normalized_query(text): one.name for one in dev for text in one.queries.values()}
    held, over = {}, []
    for one in collections:
        asked = {query: where.get(normalized_query(text)) for query, text in one.queries.items()}
        shared = {query: name for query, name in asked.items() if name is not None}
        held[one.name] = frozenset(shared)
        if len(shared) > MAX_SHARED * len(asked):
            there = ", ".join(f"{n:,} in {name}" for name, n in Counter(shared.values()).items())
            over.append(f"{one.name}, {len(shared):,} of {len(asked):,} ({there})")
    if over:
        raise InputError(
            f"more than {MAX_SHARED:.0%} of the queries are in dev collections too: "
            f"{'; '.join(over)}; train and choose on different collections"
        )
    return held


def normalized_query(text: str) -> str:
    """What makes two queries the same: the words alone; a text without words stays as it is."""
    plain = normalize("NFKC", text).casefold()
    return " ".join(re.findall(r"\w+", plain)) or plain.strip()


def _chosen(
    collections: Sequence[Collection], held: Mapping[str, frozenset[str]], how: Augmentation
) -> dict[str, list[str]]:
    """The queries that are used, of every collection in its own order."""
    free = {one.name: [q for q in one.queries if q not in held[one.name]] for one in collections}
    pairs = [(name, query) for name, queries in free.items() for query in queries]
    drawn = sorted(pairs, key=lambda pair: (_random(how.seed, *pair).random(), pair))
    lucky = set(drawn[: how.limit])
    return {name: [q for q in queries if (name, q) in lucky] for name, queries in free.items()}


def _random(*parts: str | int) -> Random:
    return Random(json.dumps(parts))  # noqa: S311 - not for secrets: it is to be drawn again


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


def _kept(query: Query, how: Augmentation, counts: Counter[str]) -> Iterator[Row]:
    """The sets worth learning from; what becomes of every set is counted."""
    if len(query.passages) < MIN_PASSAGES:
        counts["short"] += 1
        return
    seen = set()
    for number, ranks in enumerate(_drawn(query, how)):
        row = Row(query, number, ranks)
        reason = "repeated" if ranks in seen else _unfit(row) if how.filtered else ""
        seen.add(ranks)
        counts[reason or "rows"] += 1
        if not reason:
            counts["best_already"] += row.initial == 1
            yield row


def _drawn(query: Query, how: Augmentation) -> Iterator[tuple[int, ...]]:
    ranks = range(1, len(query.passages) + 1)
    if len(ranks) <= how.size:
        yield tuple(ranks)
        return
    for number in range(how.sets):
        random = _random(how.seed, query.collection, query.id, number)
        yield tuple(sorted(random.sample(ranks, how.size)))


def _unfit(row: Row) -> str:
    gains = {max(grade, 0) for grade in row.grades}
    if gains == {0}:
        return "irrelevant"
    if len(gains) == 1:
        return "equal"
    return "low" if row.initial < _LOWEST else ""


def _about(one: Collection, depth: int, counts: Counter[str]) -> dict[str, Any]:
    lists = {query: list(ids[:depth]) for query, ids in (one.lists or {}).items()}
    dropped = {reason: counts[reason] for reason in _REASONS}
    return {
        "hash": one.hash,
        "first_stage": one.listed,
        "lists": sha256(json.dumps(lists).encode()).hexdigest(),
        **{name: counts[name] for name in ("queries", "chosen", *_BEFORE)},
        "sets": counts["rows"] + sum(dropped.values()),
        "dropped": dropped,
        "rows": counts["rows"],
        "best_already": counts["best_already"],
    }
