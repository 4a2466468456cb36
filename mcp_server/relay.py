"""Between a host and another MCP server: every message goes through as it is, but some results.

Nothing of the protocol is spoken here beyond what it takes to know a tool's result again. So all
that a server can do goes through, in every version of the protocol: other tools, resources,
prompts, questions to the host, progress, cancelling, errors.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Collection
from contextlib import suppress
from time import perf_counter
from typing import Any

from mcp_server.messages import (
    Message,
    Request,
    as_object,
    key_of,
    read,
    request_key,
    written,
)
from mcp_server.pipes import Lines
from mcp_server.results import Sorter
from mcp_server.wrapped import Wrapped
from rearank_agent.brief import short
from rearank_agent.errors import RearankError, SetupError

__all__ = ["Relay"]

_HANDSHAKE = 60.0  # seconds that a server may take when it is started anew
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
        self, host: Lines, start: Callable[[], Wrapped], tools: Collection[str], sorter: Sorter
    ) -> None:
        self._host, self._start, self._tools, self._sorter = host, start, tools, sorter
        self._wrapped: Wrapped | None = None
        self._fate = ""  # how the server ended, until somebody was told
        self._opening: list[bytes] = []  # the host's part of the handshake, to say it again
        self._waiting: dict[Any, Request] = {}
        self._sorting: dict[Any, asyncio.Task[None]] = {}
        self._offered: set[str] = set()
        self._listening: asyncio.Task[None] | None = None

    async def run(self, wrapped: Wrapped) -> None:
        """Go on until the host ends; the server ends with it."""
        self._listen(wrapped)
        try:
            await self._hear_host()
            await self._settle()
        finally:
            wrapped_now, self._wrapped = self._wrapped, None
            if wrapped_now:
                await wrapped_now.end(_AT_ONCE)

    async def _hear_host(self) -> None:
        try:
            async for line in self._host:
                await self._from_host(line)
        except OSError as error:
            _log.error("the host is heard no more: %s", error.strerror)

    def _listen(self, wrapped: Wrapped) -> None:
        self._wrapped = wrapped
        self._listening = asyncio.create_task(self._from_wrapped(wrapped))

    async def _settle(self) -> None:
        """Let the server end by itself, and what it said last be heard."""
        if (wrapped := self._wrapped) and (listening := self._listening):
            self._wrapped = None
            wrapped.lines.close()
            await asyncio.wait([listening], timeout=_LAST_WORDS)
            if self._sorting:
                await asyncio.wait(self._sorting.values(), timeout=_LAST_WORDS)
            await wrapped.end(_AT_ONCE)

    async def _from_host(self, line: bytes) -> None:
        message = as_object(read(line))
        if self._wrapped is None and not (request_key(message) and await self._again(message)):
            return
        self._note(message, line)
        assert self._wrapped  # noqa: S101 - it was started anew
        self._wrapped.lines.write(line)

    def _note(self, message: Message, line: bytes) -> None:
        """Remember what of a message will be needed."""
        method = message.get("method")
        if key := request_key(message):
            self._waiting[key] = Request(message, perf_counter())
        if method == "initialize":
            self._opening = [line]
        elif method == "notifications/initialized":
            self._opening.append(line)
        elif method == "notifications/cancelled":
            key = key_of(as_object(message.get("params")).get("requestId"))
            self._waiting.pop(key, None)
            if sorting := self._sorting.pop(key, None):
                sorting.cancel()

    async def _from_wrapped(self, wrapped: Wrapped) -> None:
        said = ""
        try:
            async for line in wrapped.lines:
                await self._heard(line)
        except OSError as error:
            said = f"was ended, since {error.strerror}"
        fate = await wrapped.end(1.0)
        if self._wrapped is wrapped:
            self._wrapped = None
            await self._buried(said or fate)

    async def _heard(self, line: bytes) -> None:
        message = read(line)
        if message is None:
            if line.strip():
                shown = short(line.decode(errors="replace"), _SHOWN)
                _log.warning("the wrapped server wrote what is no message; left out: %s", shown)
            return
        message = as_object(message)
        key = None if "method" in message else key_of(message.get("id"))
        request = self._waiting.pop(key, None)
        result = message.get("result")
        if request and isinstance(result, dict):
            if request.method == "tools/call" and request.params.get("name") in self._tools:
                self._sorting[key] = asyncio.create_task(self._sort(key, request, message, line))
                return
            if request.method == "tools/list":
                self._check(result)
        if message.get("method") == "notifications/progress":
            self._follow(as_object(message.get("params")))
        await self._host.write(line)

    async def _sort(self, key: Any, request: Request, message: Message, line: bytes) -> None:
        """Answer the host with the result in order."""
        params, spent = request.params, perf_counter() - request.since
        result = message["result"]
        try:
            arguments = as_object(params.get("arguments"))
            told = self._progress(request)
            ordered = await self._sorter.sorted(params["name"], arguments, result, spent, told)
            if ordered is not result:
                line = written({**message, "result": ordered})
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
            self._host.write(written({"method": "notifications/progress", "params": params}))

        return tell

    def _follow(self, params: Message) -> None:
        for request in self._waiting.values():
            if request.token is not None and request.token == params.get("progressToken"):
                with suppress(TypeError, ValueError):
                    request.progress = max(request.progress, float(params["progress"]))

    def _check(self, result: Message) -> None:
        """Say it when the server turns out not to have the tools whose results are wanted."""
        listed = result.get("tools")
        named = (as_object(tool).get("name") for tool in listed) if isinstance(listed, list) else ()
        self._offered |= {name for name in named if isinstance(name, str)}
        if not result.get("nextCursor") and (missing := sorted(set(self._tools) - self._offered)):
            has = short(", ".join(sorted(self._offered)), 400)
            _log.warning("the wrapped server has no tool %s; it has %s", ", ".join(missing), has)

    async def _buried(self, fate: str) -> None:
        """Tell of a server that has ended."""
        _log.warning("the wrapped server %s; the next request starts it anew", fate)
        waiting, self._waiting = self._waiting, {}
        self._fate = "" if waiting else fate
        for request in waiting.values():
            await self._refuse(request.message, fate)

    async def _again(self, message: Message) -> bool:
        """Start the server anew; False if instead of that there was something to tell."""
        fate, self._fate = self._fate, ""
        if not fate:
            try:
                await self._restart(shake=message["method"] != "initialize")
            except RearankError as error:
                fate = f"cannot be started anew: {error}"
        if fate:
            await self._refuse(message, fate)
        return not fate

    async def _restart(self, shake: bool) -> None:
        """Start the server, and say again what the host said to open the conversation."""
        wrapped = self._start()
        try:
            if shake and self._opening:
                async with asyncio.timeout(_HANDSHAKE):
                    await self._shake(wrapped)
        except OSError:  # and so is a time that is over
            raise SetupError(f"it gave no answer and {await wrapped.end(1.0)}") from None
        self._listen(wrapped)

    async def _shake(self, wrapped: Wrapped) -> None:
        """The handshake, whose answer the host has had.

        Raises:
            OSError: the server ended.
        """
        opening, *rest = self._opening
        wrapped.lines.write(opening)
        async for line in wrapped.lines:
            answer = as_object(read(line))
            if "method" not in answer and answer.get("id") == json.loads(opening)["id"]:
                break
        else:
            raise BrokenPipeError
        for line in rest:
            wrapped.lines.write(line)

    async def _refuse(self, message: Message, fate: str) -> None:
        error = {"code": _INTERNAL_ERROR, "message": f"the wrapped server {fate}"}
        await self._host.write(written({"id": message["id"], "error": error}))
