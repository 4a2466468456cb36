"""The server over HTTP: access control, and limits on concurrent requests."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import re
import signal
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import uvicorn
from mcp.server.transport_security import TransportSecuritySettings
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import rearank_agent
from rearank_agent.errors import InputError, SetupError
from rearank_mcp.rest.api import MAX_BODY, error_response, rest_app
from rearank_mcp.server import make_server
from rearank_mcp.service import Service

__all__ = ["Address", "app", "listen", "serve"]

MAX_REQUESTS = 256
MAX_SESSIONS = 1_000
MAX_BODY_BYTES = 64 * 1024 * 1024  # of all bodies at once
BODY_SECONDS = 10.0
IDLE = 600.0  # seconds until an unused session is dropped

_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_LOCAL_ORIGIN = re.compile(r"https?://(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?")
_PORT = re.compile(r":\d{1,5}$")
_DIGITS = re.compile(r"\d{1,18}")


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen."""

    host: str
    port: int

    @classmethod
    def of(cls, text: str) -> Address:
        """HOST:PORT, or a port alone on 127.0.0.1.

        Raises:
            InputError: it is neither.
        """
        host, _, port = text.rpartition(":")
        host = host.removeprefix("[").removesuffix("]") or "127.0.0.1"
        if not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
            raise InputError(f"an address is HOST:PORT, as 127.0.0.1:8808, not {text!r:.60}")
        return cls(host, int(port))

    @property
    def url_host(self) -> str:
        """The host as part of a URL."""
        return f"[{self.host}]" if ":" in self.host else self.host


def listen(address: Address, token: str | None) -> socket.socket:
    """A listening socket; other machines may reach it only if there is a token.

    Raises:
        SetupError: a token is missing, or the address cannot be bound.
    """
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        family, _, _, _, where = found[0]
        if not token and not ipaddress.ip_address(where[0]).is_loopback:
            raise SetupError(
                f"{address.host} can be reached from other machines: set REARANK_TOKEN, "
                "which clients must then send, or listen on 127.0.0.1"
            )
        listening = socket.create_server(where[:2], family=family)
        # asyncio sets it by itself, but not on a socket that was made without its protocol.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listening
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise SetupError(f"cannot listen on {address.url_host}:{address.port}: {why}") from None


def app(
    service: Service,
    address: Address,
    token: str | None = None,
    hosts: Sequence[str] = (),
    origins: Sequence[str] = (),
) -> ASGIApp:
    """The ASGI application: MCP at /mcp, /v1/rerank, and /health.

    Args:
        token: the bearer token that clients must send; None for no check.
        hosts: allowed host names, besides loopback, the address's and the machine's.
        origins: allowed web origins, besides those of this machine.
    """
    inner = make_server(service).streamable_http_app(
        host=address.host,
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
        max_request_body_size=MAX_BODY,
        max_sessions=MAX_SESSIONS,
        session_idle_timeout=IDLE,
    )
    # A mount would swallow /mcp/, which is redirected to /mcp.
    inner.router.default = rest_app(service)
    with_cors = CORSMiddleware(
        inner,
        allow_origins=origins,
        allow_origin_regex=_LOCAL_ORIGIN.pattern,
        allow_methods=("GET", "POST", "DELETE"),
        allow_headers=("*",),
        expose_headers=("Mcp-Session-Id",),
    )
    names = {*_LOOPBACK, address.url_host, socket.gethostname(), *hosts}
    return _AccessControl(with_cors, token, {name.lower() for name in names}, set(origins))


def serve(app: ASGIApp, listening: socket.socket) -> None:
    """Serve until a signal ends it."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=3,
    )
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # uvicorn ends in order, and then raises it again
    uvicorn.Server(config).run(sockets=[listening])


class _AccessControl:
    """Refuses requests without access, and limits the concurrent ones.

    Host, Origin and token are checked here, before anything is counted: the SDK's own lists come
    later, and take anything behind a colon for a port.
    """

    def __init__(self, app: ASGIApp, token: str | None, hosts: set[str], origins: set[str]) -> None:
        self.app, self.token, self.hosts, self.origins = app, token, hosts, origins
        self._active = self._active_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif refusal := self._refusal(scope, Headers(scope=scope)):
            await refusal(scope, receive, send)
        elif scope["path"] == "/health":
            state = {"status": "ok", "version": rearank_agent.__version__, "at_work": self._active}
            await JSONResponse(state)(scope, receive, send)
        elif scope["method"] == "POST":
            await self._limited(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def _refusal(self, scope: Scope, headers: Headers) -> JSONResponse | None:
        host, origin = headers.get("host", ""), headers.get("origin", "")
        if _PORT.sub("", host.lower()) not in self.hosts:
            return _refused(421, f"the host name {host!r:.80} is not allowed: see --allow-host")
        if origin and origin not in self.origins and not _LOCAL_ORIGIN.fullmatch(origin):
            return _refused(403, f"web pages of {origin!r:.80} are not allowed: see --allow-origin")
        # A browser's preflight request (OPTIONS) has no token.
        public = scope["path"] == "/health" or scope["method"] == "OPTIONS"
        if self.token and not public and not self._authorized(headers.getlist("authorization")):
            challenge = {"WWW-Authenticate": "Bearer"}
            return _refused(401, "the bearer token is missing or wrong", challenge)
        return None

    def _authorized(self, sent: Sequence[str]) -> bool:
        scheme, _, token = sent[0].partition(" ") if len(sent) == 1 else ("", "", "")
        expected = (self.token or "").encode()
        equal = hmac.compare_digest(token.strip().encode("latin-1"), expected)
        return equal and scheme.lower() == "bearer"

    async def _limited(self, scope: Scope, receive: Receive, send: Send) -> None:
        length = Headers(scope=scope).get("content-length", "")
        size = min(int(length), MAX_BODY) if _DIGITS.fullmatch(length) else MAX_BODY
        if self._active >= MAX_REQUESTS or self._active_bytes + size > MAX_BODY_BYTES:
            busy = "too many requests are being answered; ask again in a moment"
            await _refused(503, busy, {"Retry-After": "1"})(scope, receive, send)
            return
        self._active += 1
        self._active_bytes += size
        try:
            await self.app(scope, _with_body_timeout(receive), send)
        finally:
            self._active -= 1
            self._active_bytes -= size


def _with_body_timeout(receive: Receive) -> Receive:
    """`receive` with a timeout for the body, after which the client counts as disconnected."""
    end = asyncio.get_running_loop().time() + BODY_SECONDS
    complete = False

    async def read() -> Message:
        nonlocal complete
        if complete:
            return await receive()
        try:
            async with asyncio.timeout_at(end):
                message = await receive()
        except TimeoutError:
            complete = True
            return {"type": "http.disconnect"}
        complete = not message.get("more_body", False)
        return message

    return read


def _refused(status: int, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """An error for both kinds of client, of REST and of JSON-RPC."""
    return error_response(status, message, headers, jsonrpc="2.0", id=None)
