"""Threads that all requests share, one passage at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import Any, TypeVar

from rearank_agent.queueing.line import Line
from rearank_agent.queueing.work import Work

__all__ = ["FairPool"]

T = TypeVar("T")


class FairPool:
    """Threads that take the next piece of work by the rule of `Line`; for any event loop.

    Args:
        threads: how many.
        name: what their names begin with.
    """

    def __init__(self, threads: int, name: str) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._line: Line[tuple[Future[Any], Callable[[], Any]]] = Line()
        self._lock = Lock()

    def run(self, work: Work, call: Callable[[], T]) -> asyncio.Future[T]:
        """The call's result, once a thread had time for it; one that is cancelled never begins."""
        future: Future[T] = Future()
        with self._lock:
            self._line.add(work, (future, call))
        self._threads.submit(self._run_next)
        return asyncio.wrap_future(future)

    def _run_next(self) -> None:
        with self._lock:
            work, (future, call) = self._line.take()
            work.left = max(0, work.left - 1)
        if not future.set_running_or_notify_cancel():
            return
        try:
            result = call()
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(result)
