"""The reranker as a web service: POST /v1/rerank, and what describes it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import from_json
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from rearank_agent.errors import BusyError, InputError, RearankError
from rearank_mcp.error_text import error_message, validation_message
from rearank_mcp.rest.openapi import document
from rearank_mcp.rest.schemas import MODEL, ErrorDetail, ErrorResponse, RerankRequest, to_response
from rearank_mcp.service import Service

__all__ = ["MAX_BODY", "error_response", "rest_app"]

MAX_BODY = 8 * 1024 * 1024
_PATHS = ("/v1/rerank", "/v2/rerank", "/rerank")  # clients append one or the other

# In the place of what Starlette says.
_GUIDE = {
    "Not Found": "there is nothing here: POST /v1/rerank ranks, GET /openapi.json describes it, "
    "/mcp speaks MCP",
    "Method Not Allowed": "/v1/rerank takes POST, /openapi.json GET",
}

T = TypeVar("T")


def rest_app(desk: Service) -> Starlette:
    """The endpoints as an application; every refusal of it has one form."""
    service = _Service(desk)
    return Starlette(
        routes=[
            *(Route(path, service.rerank, methods=["POST"]) for path in _PATHS),
            Route("/openapi.json", _described),
        ],
        exception_handlers={
            HTTPException: lambda _, error: error_response(
                error.status_code, _GUIDE.get(error.detail, error.detail), error.headers
            ),
            ValidationError: lambda _, error: error_response(422, validation_message(error)),
            InputError: lambda _, error: error_response(422, error_message(error)),
            BusyError: lambda _, error: error_response(
                503, error_message(error), {"Retry-After": "1"}
            ),
            RearankError: lambda _, error: error_response(500, error_message(error)),
            ClientDisconnect: lambda *_: error_response(408, "the body did not come in time"),
            Exception: lambda *_: error_response(500, "the server failed; its own log says how"),
        },
    )


@dataclass(frozen=True)
class _Service:
    desk: Service

    async def rerank(self, request: Request) -> Response:
        asked = RerankRequest.model_validate(_json(await _body(request)))
        policy = self.desk.reranker.policy
        known = dict.fromkeys((policy.name, MODEL))
        if asked.model is not None and asked.model not in known:
            has = ", ".join(known)
            raise HTTPException(404, f"there is no such model; there are: {has}; or leave it out")
        ranking = await _unless_gone(
            request, self.desk.rank(asked.query, asked.passages, asked.instruction or "")
        )
        version = "2" if request.url.path.startswith("/v2") else "1"
        return Response(to_response(asked, ranking, policy, version), media_type="application/json")


async def _described(_: Request) -> Response:
    return JSONResponse(document())


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise HTTPException(413, f"the body has more than {MAX_BODY:,} bytes")
    return bytes(body)


def _json(body: bytes) -> Any:
    try:
        return from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise HTTPException(400, f"the body is not JSON in UTF-8: {error}") from None


async def _unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The work's result; a client that goes away ends it."""
    working = asyncio.create_task(work)
    gone = asyncio.create_task(_gone(request))
    try:
        await asyncio.wait([working, gone], return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        working.cancel()
        gone.cancel()
        await asyncio.gather(working, gone, return_exceptions=True)


async def _gone(request: Request) -> None:
    await request.receive()  # after the body nothing else comes


def error_response(
    status: int, message: str, headers: Mapping[str, str] | None = None, **more: object
) -> JSONResponse:
    """What a client is told whose request is not answered, and more beside it."""
    refusal = ErrorResponse(error=ErrorDetail(code=status, message=message), detail=message)
    return JSONResponse({**more, **refusal.model_dump()}, status, headers)
