"""A request as the queues see it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import count
from threading import Lock

__all__ = ["WORK", "Work", "current_work", "idle", "in_progress"]

_arrivals: Callable[[], int] = count().__next__


@dataclass(eq=False, slots=True)
class Work:
    """What a request still needs of what all requests share.

    Attributes:
        left: about how many passages are still to be read.
        arrived: its place in the order of arrival.
        waited: whether anything of it was ever queued.
        begun: whether anything of it was ever taken from a queue.
    """

    left: int
    arrived: int = field(default_factory=_arrivals)
    waited: bool = False
    begun: bool = False

    @property
    def starved(self) -> bool:
        """Whether it has waited, and others were always first."""
        return self.waited and not self.begun


WORK: ContextVar[Work | None] = ContextVar("work", default=None)
"""The work of the current request; None outside of a request."""


def current_work(size: int) -> Work:
    """The work of the current request; outside of one, new work of this size."""
    return WORK.get() or Work(size)


_lock = Lock()
_requests = 0


@contextmanager
def in_progress() -> Iterator[None]:
    """A request is being ranked, in this process."""
    global _requests
    with _lock:
        _requests += 1
    try:
        yield
    finally:
        with _lock:
            _requests -= 1


def idle() -> bool:
    """Whether no request is being ranked in this process: then the background may work."""
    return not _requests
