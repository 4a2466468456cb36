"""Connections over HTTP: how many, how long without a request, and how the server ends."""

from __future__ import annotations

import asyncio
import time
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from rearank_mcp.traffic import Traffic

__all__ = ["Connection", "Server", "max_connections"]

HEADER_SECONDS = 10.0
"""How long a connection may be without a whole request: silent, or with half of its headers."""

MAX_CONNECTIONS = 1_000
_SPARE_FILES = 100  # for stores, indexes, models' servers and what they need


def max_connections() -> int:
    """How many connections are kept, so that the process has files left for its work."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return MAX_CONNECTIONS
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return max(8, min(MAX_CONNECTIONS, files - _SPARE_FILES))


class Connection(H11Protocol):
    """A connection that is closed when no request comes, or when there are too many.

    uvicorn limits the time between requests only, not that before the first or within headers.
    """

    limit = MAX_CONNECTIONS
    _timer: asyncio.TimerHandle | None = None

    @property
    def idle(self) -> bool:
        """Whether no request is in progress."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the connection; one too many takes the place of an idle one."""
        super().connection_made(transport)  # type: ignore[arg-type]
        self.since = time.monotonic()
        self._timer = self.loop.call_later(HEADER_SECONDS, self._late)
        if len(self.connections) > self.limit:
            others = [one for one in self.connections if one is not self]
            idle = [one for one in others if isinstance(one, Connection) and one.idle]
            oldest = min(idle, key=lambda one: one.since, default=self)
            oldest.connections.discard(oldest)
            oldest.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Take bytes; the time for a request runs until its headers are whole."""
        super().data_received(data)
        if not self.idle:
            self._stop_timer()
        elif self._timer is None:  # a part of the next request's headers
            self._timer = self.loop.call_later(HEADER_SECONDS, self._late)

    def on_response_complete(self) -> None:
        """Begin to wait for the next request."""
        self.since = time.monotonic()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_timer()
        super().connection_lost(exc)

    def _late(self) -> None:
        self._timer = None
        if self.idle:
            self.transport.abort()

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None


class Server(uvicorn.Server):
    """A server that answers what it has begun before it ends.

    The first signal refuses new requests and waits for those in progress; the second ends now.

    Args:
        traffic: the requests in progress.
        drain: the most seconds to wait.
    """

    def __init__(self, config: uvicorn.Config, traffic: Traffic, drain: float) -> None:
        super().__init__(config)
        self.traffic, self.drain = traffic, drain
        self._end = 0.0

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Begin to end; called for every signal."""
        if self.traffic.draining:
            self.force_exit = self.should_exit = True
        self.traffic.draining = True
        self._end = time.monotonic() + self.drain

    async def on_tick(self, counter: int) -> Any:
        """Whether to end; called ten times a second."""
        late = time.monotonic() > self._end
        if self.traffic.draining and (late or not self.traffic.active):
            self.should_exit = True
        return await super().on_tick(counter)
