"""How good a policy is on collections it does not learn from: nDCG@10, blended as it is served."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from statistics import fmean

import torch

from rearank_agent.blend import ordered
from rearank_agent.collection import Collection
from rearank_agent.errors import InputError
from rearank_agent.metrics import ndcg
from training.augment import MOST_SHARED, words
from training.towers import Towers
from training.trunk import Trunk

__all__ = ["Dev", "macro"]

_TOGETHER = 512
"""Texts that are read at a time."""


@dataclass(frozen=True, slots=True)
class _Asked:
    collection: str
    query: str
    texts: tuple[str, ...]
    grades: tuple[int, ...]
    ideal: tuple[int, ...]


class Dev:
    """A fixed sample of judged queries and their first-stage lists.

    Args:
        collections: with first-stage lists.
        queries: of each, at most; drawn by the seed.
        depth: of the lists.
        seed: of the sample.
        learned: texts of queries that are learned from: a dev query with their words is left out.

    Attributes:
        dropped: how many were.

    Raises:
        InputError: no query has a list, or more than 5% of a collection's are learned from.
    """

    def __init__(
        self,
        collections: Sequence[Collection],
        queries: int,
        depth: int = 100,
        seed: int = 0,
        learned: Iterable[str] = (),
    ) -> None:
        known = {words(text) for text in learned}
        self._asked: list[_Asked] = []
        self.dropped = 0
        for one in collections:
            listed = [query for query in one.queries if (one.lists or {}).get(query)]
            free = [query for query in listed if words(one.queries[query]) not in known]
            if (shared := len(listed) - len(free)) > MOST_SHARED * len(listed):
                raise InputError(
                    f"{shared:,} of {len(listed):,} queries of {one.name} are in the rows: train "
                    "and choose on different collections"
                )
            self.dropped += shared
            random = Random(f"{seed} {one.name}")  # noqa: S311 - to be drawn again
            chosen = free if len(free) <= queries else sorted(random.sample(free, queries))
            self._asked += [_asked(one, query, depth) for query in chosen]
        if not self._asked:
            raise InputError("no query of the dev collections has a first-stage list")

    def __len__(self) -> int:
        return len(self._asked)

    def values(
        self, towers: Towers, trunk: Trunk, blends: Sequence[float]
    ) -> list[dict[str, list[float]]]:
        """nDCG@10 of every query, by collection, for every blend; always in the same order."""
        hidden = self._hidden(towers, trunk)
        found: list[dict[str, list[float]]] = [{} for _ in blends]
        for asked in self._asked:
            with torch.no_grad():
                texts = (hidden[text] for text in (asked.query, *asked.texts))
                query, *passages = (text.to(towers.device).float() for text in texts)
                looks = towers.looks([query]), towers.looks(passages)
                scores = towers.scores(*looks)[0].tolist()
            for blend, values in zip(blends, found, strict=True):
                order, _ = ordered(tuple(range(len(scores))), scores, blend)
                gains = [asked.grades[position] for position in order]
                values.setdefault(asked.collection, []).append(ndcg(gains, asked.ideal, 10))
        return found

    def _hidden(self, towers: Towers, trunk: Trunk) -> dict[str, torch.Tensor]:
        texts = sorted({text for asked in self._asked for text in (asked.query, *asked.texts)})
        most = trunk.encoder.max_tokens
        found: dict[str, torch.Tensor] = {}
        for first in range(0, len(texts), _TOGETHER):
            some = texts[first : first + _TOGETHER]
            with torch.no_grad():
                read = towers.encode(trunk.states(some, most))
            found.update(zip(some, (one.half().cpu() for one in read), strict=True))
        return found


def macro(values: Mapping[str, Sequence[float]]) -> float:
    """The mean of the collections' means."""
    return fmean(map(fmean, values.values()))


def _asked(one: Collection, query: str, depth: int) -> _Asked:
    listed = [p for p in (one.lists or {})[query][:depth] if p in one.corpus]
    grades = one.qrels[query]
    return _Asked(
        one.name,
        one.queries[query],
        tuple(one.corpus[passage].content for passage in listed),
        tuple(grades.get(passage, 0) for passage in listed),
        tuple(grades.values()),
    )
