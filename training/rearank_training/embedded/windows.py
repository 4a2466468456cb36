"""What a step of training looks at: windows drawn from rows, by seed and step alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from random import Random

from rearank_agent.errors import InputError
from rearank_training.rows.rows import Passages, Row

__all__ = ["Window", "WindowSampler"]


@dataclass(frozen=True, slots=True)
class Window:
    """A window to learn from.

    Attributes:
        query: its text.
        texts: of the passages, in first-stage order.
        gains: their grades, at least 0.
        ranks: in the first stage, from 1.
        judged: the gain of every text of the query's list that is relevant.
    """

    query: str
    texts: tuple[str, ...]
    gains: tuple[int, ...]
    ranks: tuple[int, ...]
    judged: Mapping[str, int]


class WindowSampler:
    """Draws rows: a collection, by the root of its number of queries; a query; a row of it.

    Few queries of many kinds count for more so than in a plain draw, where the largest
    collection would be most of what is seen. What is drawn depends on the seed, the phase and
    the step alone, so that a run that is taken up again sees what it would have seen.

    Raises:
        InputError: there is no row.
    """

    def __init__(self, rows: Sequence[Row], passages: Passages, seed: int) -> None:
        self._passages, self._seed = passages, seed
        self._rows: dict[str, dict[str, list[Row]]] = {}
        for row in rows:
            queries = self._rows.setdefault(row.query.collection, {})
            queries.setdefault(row.query.id, []).append(row)
        if not self._rows:
            raise InputError("there is no row to learn from")
        self._weights = [sqrt(len(queries)) for queries in self._rows.values()]

    def alike(self, step: int, windows: int, passages: int) -> list[Window]:
        """Small windows of different queries of one collection: each a contrast to the others."""
        random = self._random("alike", step)
        queries = self._queries(random)
        some = random.sample(list(queries), min(windows, len(queries)))
        return [self._window(random.choice(queries[query]), passages, random) for query in some]

    def apart(self, step: int, windows: int, passages: int) -> list[Window]:
        """Windows of any collections."""
        random = self._random("apart", step)
        drawn = (self._queries(random) for _ in range(windows))
        rows = [random.choice(queries[random.choice(list(queries))]) for queries in drawn]
        return [self._window(row, passages, random) for row in rows]

    def _random(self, phase: str, step: int) -> Random:
        return Random(f"{self._seed} {phase} {step}")  # noqa: S311 - to be drawn again

    def _queries(self, random: Random) -> dict[str, list[Row]]:
        return random.choices(list(self._rows.values()), self._weights)[0]

    def _window(self, row: Row, most: int, random: Random) -> Window:
        """The row's passages; of more than `most` the relevant ones up to half of that."""
        gains, places = [max(grade, 0) for grade in row.grades], list(range(len(row.ranks)))
        if len(places) > most:
            # The highest of random ** (1 / gain) are a draw without replacement by gain.
            keys = {i: random.random() ** (1 / gains[i]) for i in places if gains[i]}
            kept = sorted(keys, key=lambda i: -keys[i])[: most // 2]
            others = [i for i in places if not gains[i]] or [i for i in places if i not in kept]
            places = sorted(kept + random.sample(others, min(len(others), most - len(kept))))
        ids, collection = row.passages, row.query.collection
        return Window(
            query=row.query.text,
            texts=tuple(self._passages[collection, ids[i]].content for i in places),
            gains=tuple(gains[i] for i in places),
            ranks=tuple(row.ranks[i] for i in places),
            judged={
                self._passages[collection, name].content: max(grade, 0)
                for name, grade in zip(row.query.passages, row.query.grades, strict=True)
                if grade > 0
            },
        )
