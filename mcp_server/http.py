"""The server over HTTP: who may speak to it, and how much at once."""

from __future__ import annotations

import hmac
import ipaddress
import signal
import socket
from collections.abc import Sequence
from dataclasses import dataclass

import uvicorn
from mcp.server.transport_security import TransportSecuritySettings
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

import rearank_agent
from mcp_server.server import Server
from rearank_agent.errors import InputError, SetupError

__all__ = ["Address", "app", "listen", "serve"]

MOST_BODY = 8 * 1024 * 1024
MOST_REQUESTS = 256
MOST_SESSIONS = 1_000
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


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
        if not port.isascii() or not port.isdigit() or int(port) > 65535:
            raise InputError(f"an address is HOST:PORT, as 127.0.0.1:8808, not {text!r:.60}")
        return cls(host, int(port))

    @property
    def named(self) -> str:
        """The host as it stands in a URL."""
        return f"[{self.host}]" if ":" in self.host else self.host


def listen(address: Address, token: str | None) -> socket.socket:
    """A socket on the address; others than this machine may only reach it with a token.

    Raises:
        SetupError: there is no token, or the address cannot be had.
    """
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        family, _, _, _, where = found[0]
        if not token and not ipaddress.ip_address(where[0]).is_loopback:
            raise SetupError(
                f"{address.host} can be reached from other machines: set REARANK_TOKEN, "
                "which clients must then send, or listen on 127.0.0.1"
            )
        return socket.create_server(where[:2], family=family)
    except OSError as error:
        raise SetupError(
            f"cannot listen on {address.named}:{address.port}: {error.strerror or error}"
        ) from None


def app(
    server: Server,
    address: Address,
    token: str | None = None,
    hosts: Sequence[str] = (),
    origins: Sequence[str] = (),
) -> ASGIApp:
    """The ASGI application: MCP at /mcp, and /health.

    Args:
        token: what a client must send as bearer; None for no check.
        hosts: names by which it may be called, besides loopback, the address and the machine's own.
        origins: web pages that may call it, besides those of this machine.
    """
    names = [*_LOOPBACK, address.named, socket.gethostname(), *hosts]
    security = TransportSecuritySettings(
        allowed_hosts=[*names, *(f"{name}:*" for name in names)],
        allowed_origins=[
            *(f"http://{name}{port}" for name in _LOOPBACK for port in ("", ":*")),
            *origins,
        ],
    )
    inner = server.streamable_http_app(
        host=address.host,
        transport_security=security,
        max_request_body_size=MOST_BODY,
        max_sessions=MOST_SESSIONS,
    )
    return _Door(inner, token)


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


class _Door:
    """Lets in who has the token, and not too many at once."""

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self.app, self._inside = app, 0
        self._expected = f"Bearer {token}".encode() if token else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif scope["path"] == "/health":
            state = {"status": "ok", "version": rearank_agent.__version__, "at_work": self._inside}
            await JSONResponse(state)(scope, receive, send)
        elif not self._known(scope):
            told = {"WWW-Authenticate": "Bearer"}
            await _refusal(401, "the bearer token is missing or wrong", told)(scope, receive, send)
        elif scope["method"] == "POST":
            await self._count(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _count(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._inside >= MOST_REQUESTS:
            busy = f"{MOST_REQUESTS} requests are being answered; ask again in a moment"
            await _refusal(503, busy, {"Retry-After": "1"})(scope, receive, send)
            return
        self._inside += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self._inside -= 1

    def _known(self, scope: Scope) -> bool:
        if self._expected is None:
            return True
        sent = dict(scope["headers"]).get(b"authorization", b"")
        return hmac.compare_digest(sent, self._expected)


def _refusal(status: int, message: str, headers: dict[str, str]) -> JSONResponse:
    error = {"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": message}}
    return JSONResponse(error, status, headers)
