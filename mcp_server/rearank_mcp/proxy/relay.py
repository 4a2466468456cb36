"""Between a host and another MCP server: every message goes through as it is, but some results.

Nothing of the protocol is spoken here beyond what it takes to know a tool's result again. So all
that a server can do goes through, in every version of the protocol: other tools, resources,
prompts, questions to the host, progress, cancelling, errors.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from time import perf_counter
from typing import Any

from rearank_agent.errors import RearankError
from rearank_agent.text import shorten
from rearank_mcp.pipes import Lines
from rearank_mcp.proxy.child import ChildServer
from rearank_mcp.proxy.messages import (
    Key,
    Message,
    Request,
    as_object,
    decode,
    encode,
    key_of,
    messages_in,
    progress_in,
    request_key,
)
from rearank_mcp.proxy.results import ResultReranker

__all__ = ["Relay"]

_LAST_WORDS = 3.0  # seconds for what is under way when the host has gone
_AT_ONCE = 0.5
_SHOWN = 120  # characters of what is no message
_INTERNAL_ERROR = -32603  # of JSON-RPC

_log = logging.getLogger(__name__)


class Relay:
    """Hands on what a host and a server say to each other, and puts some results in order.

    A server that ends is told of once: to who waited for it, else to who asks next. After that it
    is started anew.
    """

    def __init__(
        self,
        host: Lines,
        start: Callable[[], ChildServer],
        tools: Collection[str],
        sorter: ResultReranker,
    ) -> None:
        self._host, self._start, self._tools, self._sorter = host, start, tools, sorter
        self._wrapped: ChildServer | None = None  # who can be spoken to
        self._fate = ""  # how the server ended, until somebody was told
        self._opening: list[bytes] = []  # the host's part of the handshake, to say it again
        self._waiting: dict[Key, Request] = {}
        self._held: list[tuple[Key, bytes]] = []  # for a server that is being started
        self._asked: dict[Key, Any] = {}  # what the server wants to know of the host
        self._sorting: dict[Key, asyncio.Task[None]] = {}
        self._offered: set[str] = set()
        self._host_has_gone = False

    async def run(self, wrapped: ChildServer) -> None:
        """Go on until the host ends; the server ends with it."""
        self._latest = wrapped
        self._life = asyncio.create_task(self._live(wrapped))
        try:
            try:
                async for line in self._host:
                    self._from_host(line)
            except OSError as error:
                _log.error("the host is heard no more: %s", error.strerror)
            await self._settle()
        finally:
            try:
                await self._latest.end(_AT_ONCE)
            finally:
                self._latest.kill()

    async def _settle(self) -> None:
        """Let the server end by itself, and what is under way be answered."""
        self._host_has_gone = True
        if self._wrapped:
            self._wrapped.lines.close()
        await asyncio.wait([self._life], timeout=_LAST_WORDS)
        if self._sorting:
            await asyncio.wait(self._sorting.values(), timeout=_LAST_WORDS)
        self._refuse(self._taken(), "is ended with its host")
        with suppress(TimeoutError):
            async with asyncio.timeout(_AT_ONCE):
                await self._host.drained()

    def _from_host(self, line: bytes) -> None:
        messages = messages_in(decode(line))
        for message in messages:
            self._note(message, line)
        if self._wrapped:
            self._wrapped.lines.write(line)
            return
        asking = [key for message in messages if (key := request_key(message))]
        if asking and self._life.done() and self._fate:
            self._refuse([self._waiting.pop(key) for key in asking], self._fate)
            self._fate = ""
        elif asking:
            self._held.append((asking[0], line))
            if self._life.done():
                self._life = asyncio.create_task(self._live())

    def _note(self, message: Message, line: bytes) -> None:
        """Remember what of a message will be needed."""
        method, key = message.get("method"), key_of(message.get("id"))
        if not method:
            self._asked.pop(key, None)
        elif key:
            self._waiting[key] = Request(message, perf_counter())
            if method == "initialize":
                self._opening = [line]
        elif method == "notifications/initialized" and self._opening:
            self._opening.append(line)
        elif method == "notifications/cancelled":
            key = key_of(as_object(message.get("params")).get("requestId"))
            self._waiting.pop(key, None)
            if sorting := self._sorting.pop(key, None):
                sorting.cancel()

    async def _live(self, wrapped: ChildServer | None = None) -> None:
        """A server's life, from its start to the telling of its end."""
        try:
            self._wrapped = wrapped or await self._started()
            for key, line in self._held:
                if key in self._waiting:  # and was not cancelled meanwhile
                    self._wrapped.lines.write(line)
            self._held.clear()
            fate = await self._wrapped.converse(self._from_wrapped)
        except RearankError as error:
            fate = f"cannot be started anew: {error}"
        self._wrapped = None
        self._bury(fate)

    async def _from_wrapped(self, line: bytes) -> None:
        message = decode(line)
        if message is None:
            if line.strip():
                shown = shorten(line.decode(errors="replace"), _SHOWN)
                _log.warning("the wrapped server wrote what is no message; left out: %s", shown)
            return
        for part in messages_in(message):
            key, result = key_of(part.get("id")), part.get("result")
            if "method" in part:
                if key:
                    self._asked[key] = part["id"]
                self._follow(part)
                continue
            request = self._waiting.pop(key, None)
            if not request or not isinstance(result, dict):
                continue
            if request.method == "tools/list":
                self._check(result)
            elif part is message and request.tool in self._tools:  # what is in a batch stays there
                self._sorting[key] = asyncio.create_task(self._sort(key, request, part, line))
                return
        await self._host.write(line)

    async def _sort(self, key: Key, request: Request, message: Message, line: bytes) -> None:
        """Answer the host with the result in order."""
        arguments, spent = request.arguments, perf_counter() - request.since
        result = message["result"]
        try:
            told = self._progress(request)
            ordered = await self._sorter.sorted(request.tool, arguments, result, spent, told)
            if ordered is not result:
                line = encode({**message, "result": ordered})
        except Exception:
            _log.exception("a result is handed on as it came: reranking it failed")
        finally:
            self._sorting.pop(key, None)
        await self._host.write(line)

    def _progress(self, request: Request) -> Callable[[str, int, int], None]:
        """Tells the host how far the ranking is, after all that the server told it."""
        reached = request.progress + 1

        def tell(what: str, done: int, total: int) -> None:
            if request.token is None:
                return
            params = {"progressToken": request.token, "progress": reached + done, "message": what}
            if total:
                params |= {"total": reached + total, "message": f"{what} {done} of {total}"}
            self._host.write(encode({"method": "notifications/progress", "params": params}))

        return tell

    def _follow(self, message: Message) -> None:
        """Keep in mind how far the server says it is."""
        token, progress = progress_in(message)
        for request in self._waiting.values():
            if token is not None and request.token == token:
                request.progress = max(request.progress, progress)

    def _check(self, result: Message) -> None:
        """Say it when the server turns out not to have the tools whose results are wanted."""
        listed = result.get("tools")
        named = (as_object(tool).get("name") for tool in listed) if isinstance(listed, list) else ()
        self._offered |= {name for name in named if isinstance(name, str)}
        if not result.get("nextCursor") and (missing := sorted(set(self._tools) - self._offered)):
            has = shorten(", ".join(sorted(self._offered)), 400)
            _log.warning("the wrapped server has no tool %s; it has %s", ", ".join(missing), has)

    def _bury(self, fate: str) -> None:
        """Tell of a server that has ended, and take back what it asked."""
        for asked in self._asked.values():
            params = {"requestId": asked, "reason": f"the server {fate}"}
            self._host.write(encode({"method": "notifications/cancelled", "params": params}))
        self._asked.clear()
        self._held.clear()
        waiting = self._taken()
        self._refuse(waiting, fate)
        self._fate = "" if waiting else fate
        if not self._host_has_gone:
            _log.warning("the wrapped server %s; the next request starts it anew", fate)

    def _taken(self) -> list[Request]:
        """Who waits; nobody does after that."""
        waiting = list(self._waiting.values())
        self._waiting.clear()
        return waiting

    def _refuse(self, requests: Iterable[Request], fate: str) -> None:
        error = {"code": _INTERNAL_ERROR, "message": f"the wrapped server {fate}"}
        for request in requests:
            self._host.write(encode({"id": request.message["id"], "error": error}))

    async def _started(self) -> ChildServer:
        """A server started anew, that has heard again what the host said to open the conversation.

        Raises:
            SetupError: it cannot be started, or does not answer.
        """
        wrapped = self._latest = self._start()
        if self._opening and request_key(decode(self._opening[0])) not in self._waiting:
            await wrapped.shake(self._opening)
        return wrapped
