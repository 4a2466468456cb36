"""The relay between a host and an MCP server: all messages pass unchanged, except some results.

It knows only as much of the protocol as it takes to recognize a tool's result. So everything a
server can do passes, in every version of the protocol: other tools, resources, prompts, requests
to the host, progress, cancellation, errors.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from time import perf_counter
from typing import Any

from rearank_agent.errors import RearankError
from rearank_agent.text import one_line, shorten
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

_SETTLE_SECONDS = 3.0  # for the requests that are open when the host closes
_SHORT_WAIT = 0.5  # seconds
_SHOWN = 120  # characters of a line that is left out
_INTERNAL_ERROR = -32603  # of JSON-RPC

_log = logging.getLogger(__name__)


class Relay:
    """Passes messages between a host and a server, and reranks the results of some tools.

    The end of a server is reported once: to the requests that wait for it, else to the next one.
    The request after that restarts it.
    """

    def __init__(
        self,
        host: Lines,
        start: Callable[[], ChildServer],
        tools: Collection[str],
        reranker: ResultReranker,
    ) -> None:
        self._host, self._start, self._tools, self._reranker = host, start, tools, reranker
        self._server: ChildServer | None = None  # None while it starts, and after its end
        self._ending = ""  # how the server ended, until it was reported
        self._handshake: list[bytes] = []  # the host's part, to repeat it after a restart
        self._waiting: dict[Key, Request] = {}
        self._queue: list[tuple[Key, bytes]] = []  # lines for a server that is being started
        self._server_requests: dict[Key, Any] = {}  # ids of the server's requests to the host
        self._reranking: dict[Key, asyncio.Task[None]] = {}
        self._listed: set[str] = set()
        self._host_closed = False

    async def run(self, server: ChildServer) -> None:
        """Relay until the host closes; the server ends with it."""
        self._latest = server
        self._serving = asyncio.create_task(self._serve(server))
        try:
            try:
                async for line in self._host:
                    self._from_host(line)
            except OSError as error:
                _log.error("cannot read from the host any more: %s", error.strerror)
            await self._settle()
        finally:
            try:
                await self._latest.end(_SHORT_WAIT)
            finally:
                self._latest.kill()

    async def _settle(self) -> None:
        """Let the server end by itself, and open requests be answered."""
        self._host_closed = True
        if self._server:
            self._server.lines.close()
        await asyncio.wait([self._serving], timeout=_SETTLE_SECONDS)
        if self._reranking:
            await asyncio.wait(self._reranking.values(), timeout=_SETTLE_SECONDS)
        self._send_errors(self._take_waiting(), "is ended with its host")
        with suppress(TimeoutError):
            async with asyncio.timeout(_SHORT_WAIT):
                await self._host.drained()

    def _from_host(self, line: bytes) -> None:
        messages = messages_in(decode(line))
        for message in messages:
            self._track(message, line)
        if self._server:
            self._server.lines.write(line)
            return
        keys = [key for message in messages if (key := request_key(message))]
        if keys and self._serving.done() and self._ending:
            self._send_errors([self._waiting.pop(key) for key in keys], self._ending)
            self._ending = ""
        elif keys:
            self._queue.append((keys[0], line))
            if self._serving.done():
                self._serving = asyncio.create_task(self._serve())

    def _track(self, message: Message, line: bytes) -> None:
        """Update the open requests and the handshake from a message of the host."""
        method, key = message.get("method"), key_of(message.get("id"))
        if not method:
            self._server_requests.pop(key, None)
        elif key:
            self._waiting[key] = Request(message, perf_counter())
            if method == "initialize":
                self._handshake = [line]
        elif method == "notifications/initialized" and self._handshake:
            self._handshake.append(line)
        elif method == "notifications/cancelled":
            key = key_of(as_object(message.get("params")).get("requestId"))
            self._waiting.pop(key, None)
            if task := self._reranking.pop(key, None):
                task.cancel()

    async def _serve(self, server: ChildServer | None = None) -> None:
        """Run one server, from its start to the report of its end; without one, restart it."""
        try:
            self._server = server or await self._restart()
            for key, line in self._queue:
                if key in self._waiting:  # it may have been cancelled meanwhile
                    self._server.lines.write(line)
            self._queue.clear()
            ending = await self._server.read_until_exit(self._from_server)
        except RearankError as error:
            ending = f"cannot be restarted: {error}"
        self._server = None
        self._report_end(ending)

    async def _from_server(self, line: bytes) -> None:
        message = decode(line)
        if message is None:
            if line.strip():
                shown = shorten(line.decode(errors="replace"), _SHOWN)
                _log.warning("the wrapped server wrote no JSON-RPC message; left out: %s", shown)
            return
        for part in messages_in(message):
            key, result = key_of(part.get("id")), part.get("result")
            if "method" in part:
                if key:
                    self._server_requests[key] = part["id"]
                self._track_progress(part)
                continue
            request = self._waiting.pop(key, None)
            if not request or not isinstance(result, dict):
                continue
            if request.method == "tools/list":
                self._check_tools(result)
            elif part is message and request.tool in self._tools:  # not in a batch
                self._reranking[key] = asyncio.create_task(self._rerank(key, request, part, line))
                return
        await self._host.write(line)

    async def _rerank(self, key: Key, request: Request, message: Message, line: bytes) -> None:
        """Answer the host with the reranked result."""
        arguments, spent = request.arguments, perf_counter() - request.received
        result = message["result"]
        try:
            report = self._progress_callback(request)
            reranked = await self._reranker.rerank(request.tool, arguments, result, spent, report)
            if reranked is not result:
                line = encode({**message, "result": reranked})
        except Exception:
            _log.exception("a result is passed on as it came: reranking it failed")
        finally:
            self._reranking.pop(key, None)
        await self._host.write(line)

    def _progress_callback(self, request: Request) -> Callable[[str, int, int], None]:
        """Reports the ranking's progress to the host, counted on from the server's."""
        offset = request.progress + 1

        def report(what: str, done: int, total: int) -> None:
            if request.token is None:
                return
            params = {"progressToken": request.token, "progress": offset + done, "message": what}
            if total:
                params |= {"total": offset + total, "message": f"{what} {done} of {total}"}
            self._host.write(encode({"method": "notifications/progress", "params": params}))

        return report

    def _track_progress(self, message: Message) -> None:
        """Store the progress that the server reports."""
        token, progress = progress_in(message)
        for request in self._waiting.values():
            if token is not None and request.token == token:
                request.progress = max(request.progress, progress)

    def _check_tools(self, result: Message) -> None:
        """Warn if the server does not list the tools whose results are to be reranked."""
        listed = result.get("tools")
        named = (as_object(tool).get("name") for tool in listed) if isinstance(listed, list) else ()
        self._listed |= {name for name in named if isinstance(name, str)}
        if not result.get("nextCursor") and (missing := sorted(set(self._tools) - self._listed)):
            has = shorten(", ".join(sorted(self._listed)), 400)
            _log.warning("the wrapped server has no tool %s; it has %s", ", ".join(missing), has)

    def _report_end(self, ending: str) -> None:
        """Report a server's end to the requests that wait, and cancel its own requests."""
        for identifier in self._server_requests.values():
            params = {"requestId": identifier, "reason": f"the server {ending}"}
            self._host.write(encode({"method": "notifications/cancelled", "params": params}))
        self._server_requests.clear()
        self._queue.clear()
        waiting = self._take_waiting()
        self._send_errors(waiting, ending)
        self._ending = "" if waiting else ending
        if not self._host_closed:
            _log.warning("the wrapped server %s; the next request restarts it", ending)

    def _take_waiting(self) -> list[Request]:
        """The requests that wait for the server, removed from the list."""
        waiting = list(self._waiting.values())
        self._waiting.clear()
        return waiting

    def _send_errors(self, requests: Iterable[Request], ending: str) -> None:
        error = {"code": _INTERNAL_ERROR, "message": one_line(f"the wrapped server {ending}")}
        for request in requests:
            self._host.write(encode({"id": request.message["id"], "error": error}))

    async def _restart(self) -> ChildServer:
        """A new server process, after the host's handshake was repeated.

        Raises:
            SetupError: it cannot be started, or does not answer.
        """
        server = self._latest = self._start()
        if self._handshake and request_key(decode(self._handshake[0])) not in self._waiting:
            await server.repeat_handshake(self._handshake)
        return server
