"""Dev queries: judged queries that are not trained on, with their first-stage lists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from statistics import fmean

from rearank_agent.data.collection import Collection
from rearank_agent.errors import InputError
from rearank_agent.metrics import ndcg
from rearank_agent.types import Passage
from rearank_training.rows.overlap import MAX_SHARED, normalized_query

__all__ = ["HeldOutQuery", "held_out", "macro"]


@dataclass(frozen=True, slots=True)
class HeldOutQuery:
    """A query, the passages its first stage found, and their grades.

    Attributes:
        ideal: all of the query's grades, also of passages the first stage missed.
    """

    collection: str
    query: str
    instruction: str
    passages: tuple[Passage, ...]
    grades: tuple[int, ...]
    ideal: tuple[int, ...]

    def ndcg(self, order: Iterable[int]) -> float:
        """nDCG@10 of the passages in this order of positions, 0 to 1."""
        return ndcg([self.grades[position] for position in order], self.ideal, 10)


def held_out(
    collections: Sequence[Collection],
    queries: int,
    depth: int = 100,
    seed: int = 0,
    trained_on: Iterable[str] = (),
) -> tuple[list[HeldOutQuery], int]:
    """A fixed sample of judged queries, and how many were left out because they are trained on.

    Args:
        collections: with first-stage lists.
        queries: of each, at most; drawn by the seed.
        depth: of the lists.
        seed: of the sample.
        trained_on: texts of training queries; a query equal to one, normalized, is left out.

    Raises:
        InputError: no query has a list, or more than 5% of a collection's are trained on.
    """
    known = {normalized_query(text) for text in trained_on}
    found: list[HeldOutQuery] = []
    dropped = 0
    for one in collections:
        listed = [query for query in one.queries if (one.lists or {}).get(query)]
        free = [query for query in listed if normalized_query(one.queries[query]) not in known]
        if (shared := len(listed) - len(free)) > MAX_SHARED * len(listed):
            raise InputError(
                f"{shared:,} of {len(listed):,} queries of {one.name} are in the rows: "
                "use different collections for training and dev"
            )
        dropped += shared
        random = Random(f"{seed} {one.name}")  # noqa: S311 - reproducible, not secret
        chosen = free if len(free) <= queries else sorted(random.sample(free, queries))
        found += [_query(one, query, depth) for query in chosen]
    if not found:
        raise InputError("no query of the dev collections has a first-stage list")
    return found, dropped


def _query(one: Collection, query: str, depth: int) -> HeldOutQuery:
    listed = [p for p in (one.lists or {})[query][:depth] if p in one.corpus]
    grades = one.qrels[query]
    return HeldOutQuery(
        one.name,
        one.queries[query],
        one.instruction,
        tuple(one.corpus[passage] for passage in listed),
        tuple(grades.get(passage, 0) for passage in listed),
        tuple(grades.values()),
    )


def macro(values: Mapping[str, Sequence[float]]) -> float:
    """The mean of the collections' means."""
    return fmean(map(fmean, values.values()))
