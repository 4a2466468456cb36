"""The requests in progress over HTTP: their number, their bodies, and how they end."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import rearank_agent
from rearank_agent.errors import InputError
from rearank_mcp.json_limits import check_values
from rearank_mcp.refusal import refused
from rearank_mcp.rest.api import MAX_BODY

__all__ = ["Traffic"]

MAX_REQUESTS = 256
MAX_BODY_BYTES = 64 * 1024 * 1024  # of all bodies at once
BODY_SECONDS = 10.0
_SMALL = 64 * 1024  # bytes that are checked at once, without a thread

_DIGITS = re.compile(r"\d{1,18}")
_AGAIN = {"Retry-After": "1"}
_BUSY = "too many requests are being answered; ask again in a moment"
_STOPPING = "the server is stopping; ask again in a moment"


class _Refusal(Exception):  # noqa: N818  not an error of ours
    """A request that is answered with this response."""

    def __init__(self, response: JSONResponse) -> None:
        self.response = response


@dataclass(eq=False)
class Traffic:
    """Reads the bodies of POST requests within bounds, and counts what is in progress.

    A body counts by what has come of it, a request from when its body is there: whoever sends
    slowly or not at all takes nobody's place. An endpoint gets the whole body at once, after its
    values were counted.

    Attributes:
        app: answers the requests.
        active: requests being answered.
        draining: whether the server is to end: new requests are refused.
    """

    app: ASGIApp
    active: int = 0
    draining: bool = False
    _bytes: int = field(default=0, init=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what is about the server; read, count and pass on the rest."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif scope["path"] == "/health":
            await self._state("ok", 200)(scope, receive, send)
        elif scope["path"] == "/ready":
            state = ("stopping", 503) if self.draining else ("ready", 200)
            await self._state(*state)(scope, receive, send)
        elif self.draining:
            await self._stopping()(scope, receive, send)
        elif scope["method"] == "POST":
            await self._post(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def _state(self, status: str, code: int) -> JSONResponse:
        version = rearank_agent.__version__
        return JSONResponse({"status": status, "version": version, "at_work": self.active}, code)

    @staticmethod
    def _stopping() -> JSONResponse:
        return refused(503, _STOPPING, {**_AGAIN, "Connection": "close"})

    async def _post(self, scope: Scope, receive: Receive, send: Send) -> None:
        come = bytearray()
        try:
            if await self._read(Headers(scope=scope), receive, come):
                body = bytes(come)
                await _check(body)
                with self._counted():
                    await self.app(scope, _replay(body, receive), send)
        except _Refusal as refusal:
            await refusal.response(scope, receive, send)
        finally:
            self._bytes -= len(come)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        if self.draining:  # since its body began to come
            raise _Refusal(self._stopping())
        if self.active >= MAX_REQUESTS:
            raise _Refusal(refused(503, _BUSY, _AGAIN))
        self.active += 1
        try:
            yield
        finally:
            self.active -= 1

    async def _read(self, headers: Headers, receive: Receive, come: bytearray) -> bool:
        """Read the body, counting what has come; False if the client has gone."""
        length = headers.get("content-length", "")
        if _DIGITS.fullmatch(length) and int(length) > MAX_BODY:
            raise _Refusal(refused(413, f"the body has more than {MAX_BODY:,} bytes"))
        try:
            async with asyncio.timeout(BODY_SECONDS):
                more = True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return False
                    chunk = message.get("body", b"")
                    more = message.get("more_body", False)
                    come += chunk
                    self._bytes += len(chunk)
                    if len(come) > MAX_BODY:
                        raise _Refusal(refused(413, f"the body has more than {MAX_BODY:,} bytes"))
                    if self._bytes > MAX_BODY_BYTES:
                        raise _Refusal(refused(503, _BUSY, _AGAIN))
        except TimeoutError:
            late = refused(408, "the body did not arrive in time", {"Connection": "close"})
            raise _Refusal(late) from None
        return True


async def _check(body: bytes) -> None:
    try:
        if len(body) > _SMALL:
            await asyncio.to_thread(check_values, body)
        else:
            check_values(body)
    except InputError as error:
        raise _Refusal(refused(422, str(error))) from None


def _replay(body: bytes, receive: Receive) -> Receive:
    """`receive` of a body that has come already."""
    sent = False

    async def read() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return read
