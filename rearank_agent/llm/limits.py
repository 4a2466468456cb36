"""Limits on the model calls of a process: concurrency, retries, deadline."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from threading import Lock
from time import perf_counter
from typing import TypeVar

from rearank_agent.queueing.line import Line
from rearank_agent.queueing.work import Work

__all__ = ["DEADLINE", "RETRIES", "Cap", "process_cap", "time_left", "with_retries"]

RETRIES = 3
"""The maximum retries of a call."""

DEADLINE: ContextVar[float | None] = ContextVar("until", default=None)
"""When the current request must have ended, on `perf_counter`; None for no limit."""

T = TypeVar("T")


def time_left() -> float | None:
    """Seconds until the current request must have ended; None for no limit."""
    until = DEADLINE.get()
    return None if until is None else until - perf_counter()


@dataclass(eq=False, slots=True)
class _Waiting:
    loop: asyncio.AbstractEventLoop
    ready: asyncio.Future[None]


class Cap:
    """At most `max_calls` in flight, in all threads and event loops of a process.

    A free slot goes to the request that is next by the rule of `Line`.
    """

    def __init__(self, max_calls: int) -> None:
        self.max_calls = max_calls
        self._lock = Lock()
        self._in_flight = 0
        self._line: Line[_Waiting] = Line()

    @asynccontextmanager
    async def slot(self, work: Work) -> AsyncIterator[None]:
        """Wait for a slot for a call of this request, and hold it for the block."""
        await self._enter(work)
        try:
            yield
        finally:
            self._leave()

    async def _enter(self, work: Work) -> None:
        loop = asyncio.get_running_loop()
        waiting = _Waiting(loop, loop.create_future())
        with self._lock:
            self._line.add(work, waiting)
            self._admit()
        try:
            await waiting.ready
        except asyncio.CancelledError:
            with self._lock:
                waited = self._line.remove(work, waiting)
            if not waited:  # the slot came at the same moment
                self._leave()
            raise

    def _leave(self) -> None:
        with self._lock:
            self._in_flight -= 1
            self._admit()

    def _admit(self) -> None:
        """Wake those who are next, while there are slots."""
        while self._line and self._in_flight < self.max_calls:
            _, following = self._line.take()
            try:
                following.loop.call_soon_threadsafe(_wake, following.ready)
            except RuntimeError:  # its loop was closed while it waited
                continue
            self._in_flight += 1


def _wake(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


_cap: list[Cap] = []
_cap_lock = Lock()


def process_cap() -> Cap:
    """The one cap of this process (REARANK_CALLS, else 32)."""
    with _cap_lock:
        if not _cap:
            from rearank_agent.settings import settings

            _cap.append(Cap(settings().calls))
        return _cap[0]


async def with_retries(
    call: Callable[[], Awaitable[T]], pause: Callable[[Exception, int], float | None]
) -> T:
    """The call's result, with retries.

    Args:
        call: made at most 1 + RETRIES times.
        pause: seconds to wait after a failure, given how many calls failed before it; None if
            a retry is of no use.

    Raises:
        Exception: what the last call raised, also when the pause would pass the deadline.
    """
    failures = 0
    while True:
        try:
            return await call()
        except Exception as error:
            seconds = pause(error, failures)
            left = time_left()
            if seconds is None or failures >= RETRIES or (left is not None and seconds >= left):
                raise
        failures += 1
        await asyncio.sleep(seconds)
