"""Making the vectors that a library's passages lack: all of them, or in the background."""

from __future__ import annotations

import atexit
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Event, Lock, Thread, get_native_id
from typing import TYPE_CHECKING

from rearank_agent.errors import SetupError
from rearank_agent.queueing.work import idle
from rearank_agent.types import Fault

if TYPE_CHECKING:
    from rearank_agent.policies.embedded.passages import PassageEncoder
    from rearank_agent.search.index import Index

__all__ = ["Background", "fill"]

_AT_ONCE = 64  # passages between two writes
_PAUSE = 0.05  # seconds between two looks at whether requests are being served
_NICE = 10
"""How much the background gives way to other threads, where the system has that."""

Progress = Callable[[int, int], None]


def fill(
    passages: PassageEncoder,
    index: Index,
    positions: Sequence[int],
    progress: Progress | None = None,
) -> tuple[Fault, ...]:
    """Make and keep the vectors of passages of an index; what was made is kept if interrupted.

    Args:
        passages: makes and keeps them.
        index: has the passages.
        positions: of the passages, in the order in which they are made.
        progress: called with the vectors made and to make.

    Returns:
        Why the rest was not made, if it was not: nothing could be kept.
    """
    made = 0
    with ThreadPoolExecutor(os.cpu_count() or 1, "rearank-fill") as pool:
        try:
            for start in range(0, len(positions), _AT_ONCE):
                part = positions[start : start + _AT_ONCE]
                list(pool.map(lambda at: passages.vectors(index.content(at)), part))
                if faults := passages.keep():
                    return faults
                made += len(part)
                if progress:
                    progress(made, len(positions))
        finally:
            pool.shutdown(cancel_futures=True)
            passages.keep()
    return ()


class Background:
    """A thread that makes a library's vectors while no request is being ranked.

    It ends when all are made or something is in the way; the next `start` begins another one.

    Args:
        passages: makes and keeps vectors.
        missing: `Library.without_vectors`.
    """

    def __init__(
        self,
        passages: PassageEncoder,
        missing: Callable[[], tuple[Index, list[int], tuple[Fault, ...]]],
    ) -> None:
        self._passages = passages
        self._missing = missing
        self._wanted: deque[str] = deque(maxlen=_AT_ONCE)
        self._stop = Event()
        self._lock = Lock()
        self._thread: Thread | None = None

    def start(self, wanted: list[str]) -> None:
        """Go on making vectors, those of these texts first."""
        with self._lock:
            self._wanted.extend(wanted)
            if self._stop.is_set() or (self._thread and self._thread.is_alive()):
                return
            self._thread = Thread(target=self._run, name="rearank-vectors", daemon=True)
            self._thread.start()
            atexit.register(self.stop)

    def stop(self) -> None:
        """End the thread after the passage it is at, and keep what was made."""
        self._stop.set()
        if self._thread:
            self._thread.join(timeout=5)
        atexit.unregister(self.stop)

    def _run(self) -> None:
        with suppress(OSError, AttributeError):  # Windows has no such call
            os.setpriority(os.PRIO_PROCESS, get_native_id(), _NICE)
        for number, text in enumerate(self._texts(), 1):
            while not idle() and not self._stop.wait(_PAUSE):
                pass
            if self._stop.is_set():
                break
            self._passages.vectors(text)
            if number % _AT_ONCE == 0 and self._passages.keep():
                return  # nothing can be kept: the next search says why
        self._passages.keep()

    def _texts(self) -> Iterator[str]:
        """The texts without vectors: those of the latest searches before all others."""
        try:
            index, missing, _ = self._missing()
        except SetupError:
            return  # the next search says why
        for position in missing:
            while self._wanted:
                yield self._wanted.popleft()
            yield index.content(position)
