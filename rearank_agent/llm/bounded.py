"""A bound on what is read of a reply, for models of pydantic-ai's own providers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
from pydantic_ai.exceptions import UnexpectedModelBehavior
from pydantic_ai.providers import Provider, infer_provider

__all__ = ["MAX_BYTES", "UnboundedReplyError", "bounded_provider", "unbounded_reply"]

MAX_BYTES = 2 * 1024 * 1024
"""The maximum that is read of one reply; a window's reply is some 10 KB."""


class UnboundedReplyError(Exception):
    """A reply that is too large, or packed although that was not asked for."""


def bounded_provider(name: str) -> Provider[Any]:
    """pydantic-ai's provider of a name, with a bound on every reply.

    The bound hangs on the HTTP client that the provider makes, and makes again for another event
    loop. Providers that speak through a package of their own (Bedrock, Hugging Face, xAI) have
    none, and keep what that package does.
    """
    provider = infer_provider(name)
    if own := provider._own_http_client:
        _bound(own)
    if make := provider._http_client_factory:
        provider._http_client_factory = _bounding(make)
    return provider


def unbounded_reply(error: BaseException) -> UnexpectedModelBehavior | None:
    """What a client made of an `UnboundedReplyError`, as an error that no retry helps."""
    cause: BaseException | None = error
    for _ in range(20):  # a chain may have a circle
        if cause is None or isinstance(cause, UnboundedReplyError):
            return UnexpectedModelBehavior(str(cause)) if cause else None
        cause = cause.__cause__ or cause.__context__
    return None


def _bounding(make: Callable[[], Any]) -> Callable[[], Any]:
    return lambda: _bound(make())


def _bound(client: Any) -> Any:
    if isinstance(client, httpx2.AsyncClient):
        hooks = client.event_hooks
        client.event_hooks = {
            "request": [*hooks["request"], _ask_unpacked],
            "response": [*hooks["response"], _count],
        }
    return client


async def _ask_unpacked(request: httpx2.Request) -> None:
    request.headers["Accept-Encoding"] = "identity"


async def _count(response: httpx2.Response) -> None:
    packed = response.headers.get("content-encoding", "identity")
    if packed != "identity":
        raise UnboundedReplyError(f"the server packed its reply ({packed:.20}) unasked")
    response.stream = _Counted(response.stream)


class _Counted(httpx2.AsyncByteStream):
    """A stream that ends with an error at the bound."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self._stream:
            size += len(chunk)
            if size > MAX_BYTES:
                raise UnboundedReplyError(f"the server sent more than {MAX_BYTES:,} bytes")
            yield chunk

    async def aclose(self) -> None:
        """Close the connection."""
        await self._stream.aclose()
