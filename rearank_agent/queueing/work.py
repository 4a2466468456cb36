"""A request as the queues see it."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import count

__all__ = ["WORK", "Work", "current_work"]

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
