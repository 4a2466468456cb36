"""The training windows of a step, drawn from rows by seed and step alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from random import Random

from rearank_agent.errors import InputError
from rearank_training.rows.rows import Passages, Row

__all__ = ["Window", "WindowSampler", "in_first_stage_order"]


@dataclass(frozen=True, slots=True)
class Window:
    """A training window.

    Attributes:
        query: its text.
        texts: of the passages, in first-stage order.
        gains: their grades, at least 0.
        relevant: the gains of all relevant texts of the query's list, by text.
    """

    query: str
    texts: tuple[str, ...]
    gains: tuple[int, ...]
    relevant: Mapping[str, int]


def in_first_stage_order(rows: Iterable[Row]) -> list[Row]:
    """Rows whose sets may be shown in another order: this policy blends with the first stage's."""
    return [replace(row, ranks=tuple(sorted(row.ranks))) for row in rows]


class WindowSampler:
    """Draws rows: a collection, by the square root of its query count; a query; a row of it.

    Small collections weigh more than in a uniform draw of queries, where the largest collection
    would dominate. A draw depends on the seed, the phase and the step alone, so that a resumed run
    sees the same windows.

    Raises:
        InputError: there are no rows.
    """

    def __init__(self, rows: Sequence[Row], passages: Passages, seed: int) -> None:
        self._passages, self._seed = passages, seed
        self._rows: dict[str, dict[str, list[Row]]] = {}
        for row in rows:
            queries = self._rows.setdefault(row.query.collection, {})
            queries.setdefault(row.query.id, []).append(row)
        if not self._rows:
            raise InputError("there are no rows to train on")
        self._weights = [sqrt(len(queries)) for queries in self._rows.values()]

    def same_collection(self, step: int, windows: int, passages: int) -> list[Window]:
        """Small windows of different queries of one collection: negatives for one another."""
        random = self._random("alike", step)  # part of the seed: it stays
        queries = self._queries(random)
        drawn = random.sample(list(queries), min(windows, len(queries)))
        return [self._window(random.choice(queries[query]), passages, random) for query in drawn]

    def any_collection(self, step: int, windows: int, passages: int) -> list[Window]:
        """Windows of any collections."""
        random = self._random("apart", step)  # part of the seed: it stays
        drawn = (self._queries(random) for _ in range(windows))
        rows = [random.choice(queries[random.choice(list(queries))]) for queries in drawn]
        return [self._window(row, passages, random) for row in rows]

    def _random(self, phase: str, step: int) -> Random:
        return Random(f"{self._seed} {phase} {step}")  # noqa: S311 - reproducible, not secret

    def _queries(self, random: Random) -> dict[str, list[Row]]:
        return random.choices(list(self._rows.values()), self._weights)[0]

    def _window(self, row: Row, max_passages: int, random: Random) -> Window:
        """The row's passages; of more than `max_passages` a sample, up to half of it relevant."""
        gains, positions = [max(grade, 0) for grade in row.grades], list(range(len(row.ranks)))
        if len(positions) > max_passages:
            # The highest of random ** (1 / gain) are a draw without replacement, weighted by gain.
            keys = {i: random.random() ** (1 / gains[i]) for i in positions if gains[i]}
            kept = sorted(keys, key=lambda i: -keys[i])[: max_passages // 2]
            others = [i for i in positions if not gains[i]] or [
                i for i in positions if i not in kept
            ]
            positions = sorted(
                kept + random.sample(others, min(len(others), max_passages - len(kept)))
            )
        ids, collection = row.passages, row.query.collection
        return Window(
            query=row.query.text,
            texts=tuple(self._passages[collection, ids[i]].content for i in positions),
            gains=tuple(gains[i] for i in positions),
            relevant={
                self._passages[collection, name].content: max(grade, 0)
                for name, grade in zip(row.query.passages, row.query.grades, strict=True)
                if grade > 0
            },
        )
