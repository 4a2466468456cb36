"""Room for new MCP sessions: the oldest idle ones of who has most are ended first."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import count

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["MAX_SESSIONS", "Sessions"]

MAX_SESSIONS = 1_000
_HEADER = "mcp-session-id"


@dataclass(slots=True)
class _Session:
    """A session of the old protocol; its client, its last use, and its requests in progress."""

    client: str
    used: int
    requests: int = 0


@dataclass(eq=False)
class Sessions:
    """Ends idle sessions when there are too many.

    Clients of the old protocol often leave without ending theirs. When a new one may begin and
    there is no room, the idle session that was used longest ago is ended, of the client address
    that has most: a flood of sessions ends its own. It is ended as a client would, by DELETE;
    whoever still had it gets 404, and begins a new one, as the protocol says.

    Attributes:
        app: answers MCP.
    """

    app: ASGIApp
    _open: dict[str, _Session] = field(default_factory=dict, init=False)
    _clock: count[int] = field(default_factory=count, init=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on; first make room for a session that may begin."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        client = (scope.get("client") or ("",))[0]
        given = Headers(scope=scope).get(_HEADER, "")
        if not given and scope["method"] == "POST" and len(self._open) >= MAX_SESSIONS:
            await self._end_one(scope)
        session = self._open.get(given)
        if session:
            session.requests += 1
        try:
            await self.app(scope, receive, self._watched(scope, client, given, send))
        finally:
            if session:
                session.requests -= 1
                session.used = next(self._clock)

    def _watched(self, scope: Scope, client: str, given: str, send: Send) -> Send:
        """`send` that notes which sessions begin and end."""

        async def watch(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = Headers(raw=message["headers"])
                if given and (message["status"] == 404 or scope["method"] == "DELETE"):
                    self._open.pop(given, None)
                elif not given and message["status"] < 400 and (new := headers.get(_HEADER)):
                    self._open[new] = _Session(client, next(self._clock))
            await send(message)

        return watch

    async def _end_one(self, scope: Scope) -> None:
        idle = {name: one for name, one in self._open.items() if not one.requests}
        if not idle:
            return  # all are in use; the SDK refuses a new one
        of = Counter(one.client for one in self._open.values())
        name = min(idle, key=lambda name: (-of[idle[name].client], idle[name].used))
        del self._open[name]
        headers = [(b"host", Headers(scope=scope).get("host", "").encode("latin-1"))]
        headers += [(b"mcp-session-id", name.encode()), (b"accept", b"application/json")]
        ending = {**scope, "method": "DELETE", "path": "/mcp", "raw_path": b"/mcp"}
        await self.app({**ending, "headers": headers, "query_string": b""}, _nothing, _ignore)


async def _nothing() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _ignore(_: Message) -> None:
    pass
