"""Scoring passages one by one, on threads that all requests share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from threading import Lock
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

from rearank_agent.queueing.pool import FairPool
from rearank_agent.queueing.work import current_work
from rearank_agent.types import Passage, Task, Window

__all__ = ["PointwiseScorer"]

Query = TypeVar("Query")
Scored = TypeVar("Scored")
T = TypeVar("T")


class _Lazy(Generic[T]):
    """A value computed once, by the first thread that calls; the others wait for it.

    Windows of one task share these and not futures: cancelling one window must not cancel
    what another waits for.
    """

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._lock = Lock()
        self._found: list[T] = []

    def __call__(self) -> T:
        with self._lock:
            if not self._found:
                self._found.append(self._work())
            return self._found[0]


class _TaskWork(Generic[Query, Scored]):
    """A task's work: its query, and for each passage the group it is scored in, and its place."""

    def __init__(self, query: _Lazy[Query]) -> None:
        self.query = query
        self.places: dict[int, tuple[_Lazy[Sequence[Scored]], int]] = {}


class PointwiseScorer(Generic[Query, Scored]):
    """Prepares the query of a task once, and scores each of its passages once.

    What a passage gets must depend on query and passage alone, whichever windows it is in.

    Args:
        prepare: the query, as `score` needs it.
        score: what is found of these passages, in their order.
        threads: how many run at the same time.
        batch: how many passages `score` is given at most; they are of about equal length.
    """

    def __init__(
        self,
        prepare: Callable[[str], Query],
        score: Callable[[Query, Sequence[Passage]], Sequence[Scored]],
        threads: int,
        batch: int = 1,
    ) -> None:
        self._prepare = prepare
        self._score = score
        self._batch = batch
        self._pool = FairPool(threads, "rearank-policy")
        self._tasks: WeakKeyDictionary[Task, _TaskWork[Query, Scored]] = WeakKeyDictionary()
        self._lock = Lock()

    async def query(self, task: Task, window: Window) -> Query:
        """The task's query, prepared."""
        return await self.run(window, self._work(task).query)

    async def passages(self, task: Task, window: Window) -> list[Scored]:
        """What is found of the window's passages; those not begun are dropped when cancelled."""
        places = self._places(task, window)
        groups = dict.fromkeys(group for group, _ in places)
        found = await asyncio.gather(*(self.run(window, group) for group in groups))
        results = dict(zip(groups, found, strict=True))
        return [results[group][place] for group, place in places]

    def run(self, window: Window, call: Callable[[], T]) -> asyncio.Future[T]:
        """Run a call of this window's on one of the threads."""
        return self._pool.run(current_work(len(window)), call)

    def _work(self, task: Task) -> _TaskWork[Query, Scored]:
        with self._lock:
            if (work := self._tasks.get(task)) is None:
                work = _TaskWork[Query, Scored](_Lazy(partial(self._prepare, task.query)))
                self._tasks[task] = work
        return work

    def _places(self, task: Task, window: Window) -> list[tuple[_Lazy[Sequence[Scored]], int]]:
        """The group and place of every passage of the window; passages without get one."""
        work = self._work(task)
        with self._lock:
            new = [position for position in window if position not in work.places]
            new.sort(key=lambda position: len(task.candidates[position].content))
            for i in range(0, len(new), self._batch):
                group = new[i : i + self._batch]
                passages = [task.candidates[position] for position in group]
                lazy = _Lazy(partial(self._score_group, work.query, passages))
                work.places.update({p: (lazy, place) for place, p in enumerate(group)})
            return [work.places[position] for position in window]

    def _score_group(
        self, query: Callable[[], Query], passages: Sequence[Passage]
    ) -> Sequence[Scored]:
        return self._score(query(), passages)
