"""The server over HTTP: its address, its parts, and its end."""

from __future__ import annotations

import ipaddress
import re
import signal
import socket
from collections.abc import Sequence
from dataclasses import dataclass

import uvicorn
from mcp.server.transport_security import TransportSecuritySettings
from starlette.middleware.cors import CORSMiddleware
from starlette.types import Receive, Scope, Send

from rearank_agent.errors import InputError, SetupError
from rearank_mcp.access import LOCAL_ORIGIN, LOOPBACK, AccessControl
from rearank_mcp.connections import Connection, Server, max_connections
from rearank_mcp.rest.api import MAX_BODY, rest_app
from rearank_mcp.server import make_server
from rearank_mcp.service import Service
from rearank_mcp.sessions import MAX_SESSIONS, Sessions
from rearank_mcp.traffic import Traffic

__all__ = ["Address", "HTTPApp", "listen", "serve"]

IDLE = 600.0  # seconds until an unused session is dropped


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


class HTTPApp:
    """The ASGI application: MCP at /mcp, /v1/rerank, /health and /ready.

    Args:
        service: answers.
        address: where it is served.
        token: the bearer token that clients must send; None for no check.
        hosts: allowed host names, besides loopback, the address's and the machine's.
        origins: allowed web origins, besides those of this machine.

    Attributes:
        traffic: the requests in progress.
    """

    def __init__(
        self,
        service: Service,
        address: Address,
        token: str | None = None,
        hosts: Sequence[str] = (),
        origins: Sequence[str] = (),
    ) -> None:
        inner = make_server(service).streamable_http_app(
            host=address.host,
            transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
            max_request_body_size=MAX_BODY,
            max_sessions=MAX_SESSIONS + 1,  # one is ended after the next was admitted
            session_idle_timeout=IDLE,
        )
        # A mount would swallow /mcp/, which is redirected to /mcp.
        inner.router.default = rest_app(service)
        self.traffic = Traffic(Sessions(inner))
        with_cors = CORSMiddleware(
            self.traffic,
            allow_origins=origins,
            allow_origin_regex=LOCAL_ORIGIN.pattern,
            allow_methods=("GET", "POST", "DELETE"),
            allow_headers=("*",),
            expose_headers=("Mcp-Session-Id",),
        )
        names = {*LOOPBACK, address.url_host, socket.gethostname(), *hosts}
        self._entrance = AccessControl(with_cors, token, names, origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        await self._entrance(scope, receive, send)


def serve(app: HTTPApp, listening: socket.socket, drain: float) -> None:
    """Serve until a signal ends it; requests in progress are answered first.

    Args:
        drain: the most seconds that takes.
    """
    Connection.limit = max_connections()
    config = uvicorn.Config(
        app,
        http=Connection,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=3,
    )
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # uvicorn ends in order, and then raises it again
    Server(config, app.traffic, drain).run(sockets=[listening])
