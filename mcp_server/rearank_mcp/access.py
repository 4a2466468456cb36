"""Who may call the HTTP server: host names, web origins, the bearer token."""

from __future__ import annotations

import hmac
import re
from collections.abc import Collection, Sequence

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from rearank_mcp.refusal import refused

__all__ = ["LOCAL_ORIGIN", "LOOPBACK", "PUBLIC", "AccessControl"]

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
LOCAL_ORIGIN = re.compile(r"https?://(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?")
PUBLIC = ("/health", "/ready")
"""What is told without a token."""

_PORT = re.compile(r":\d{1,5}$")


class AccessControl:
    """Refuses requests without access, before anything of them is read or counted.

    The SDK's own lists come later, and take anything behind a colon for a port.

    Args:
        token: the bearer token that clients must send; None for no check.
        hosts: allowed host names.
        origins: allowed web origins, besides those of this machine.
    """

    def __init__(
        self, app: ASGIApp, token: str | None, hosts: Collection[str], origins: Collection[str]
    ) -> None:
        self.app, self.token, self.origins = app, token, set(origins)
        self.hosts = {host.lower() for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or pass on."""
        refusal = self._refusal(scope, Headers(scope=scope)) if scope["type"] == "http" else None
        await (refusal or self.app)(scope, receive, send)

    def _refusal(self, scope: Scope, headers: Headers) -> JSONResponse | None:
        host, origin = headers.get("host", ""), headers.get("origin", "")
        if _PORT.sub("", host.lower()) not in self.hosts:
            return refused(421, f"the host name {host!r:.80} is not allowed: see --allow-host")
        if origin and origin not in self.origins and not LOCAL_ORIGIN.fullmatch(origin):
            return refused(403, f"web pages of {origin!r:.80} are not allowed: see --allow-origin")
        # A browser's preflight request (OPTIONS) has no token.
        public = scope["path"] in PUBLIC or scope["method"] == "OPTIONS"
        if self.token and not public and not self._authorized(headers.getlist("authorization")):
            challenge = {"WWW-Authenticate": "Bearer"}
            return refused(401, "the bearer token is missing or wrong", challenge)
        return None

    def _authorized(self, sent: Sequence[str]) -> bool:
        scheme, _, token = sent[0].partition(" ") if len(sent) == 1 else ("", "", "")
        expected = (self.token or "").encode()
        equal = hmac.compare_digest(token.strip().encode("latin-1"), expected)
        return equal and scheme.lower() == "bearer"
