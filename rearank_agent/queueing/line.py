"""The line of all that waits, and the rule of who is next."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

from rearank_agent.queueing.work import Work

__all__ = ["Line"]

OLDEST_EVERY = 10
"""Every so many turns the request that came first is next, whatever its size."""

Item = TypeVar("Item")


class Line(Generic[Item]):
    """Items of many requests. Not safe between threads: its owner has a lock.

    Next is the request with the least work left, among equals the one that came first: small
    requests do not wait for large ones, large ones end one after the other instead of all late
    (shortest remaining processing time; Schrage, 1968). Every tenth turn goes to the request
    that came first, so that no flood of small ones stops a large one.
    """

    def __init__(self) -> None:
        self._items: dict[Work, deque[Item]] = {}
        self._turns = 0

    def __bool__(self) -> bool:
        return bool(self._items)

    def add(self, work: Work, item: Item) -> None:
        """Put an item at the end of its request's items."""
        work.waited = True
        self._items.setdefault(work, deque()).append(item)

    def take(self) -> tuple[Work, Item]:
        """The next item; raises ValueError if nothing waits."""
        self._turns += 1
        if self._turns % OLDEST_EVERY == 0:
            work = min(self._items, key=lambda work: work.arrived)
        else:
            work = min(self._items, key=lambda work: (work.left, work.arrived))
        item = self._items[work].popleft()
        work.begun = True
        self._drop_empty(work)
        return work, item

    def remove(self, work: Work, item: Item) -> bool:
        """Remove an item; whether it still waited."""
        items = self._items.get(work)
        if items is None or item not in items:
            return False
        items.remove(item)
        self._drop_empty(work)
        return True

    def _drop_empty(self, work: Work) -> None:
        if not self._items[work]:
            del self._items[work]
