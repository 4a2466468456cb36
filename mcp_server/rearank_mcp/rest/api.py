"""The reranker as a web service: POST /v1/rerank, and its OpenAPI document."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
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
from rearank_agent.present.threshold import check_min_score
from rearank_agent.text import one_line
from rearank_mcp.error_text import error_message, validation_message
from rearank_mcp.request_limits import check_count
from rearank_mcp.rest.openapi import openapi_document
from rearank_mcp.rest.schemas import MODEL, ErrorDetail, ErrorResponse, RerankRequest, to_response
from rearank_mcp.service import Service

__all__ = ["MAX_BODY", "error_response", "rest_app"]

MAX_BODY = 8 * 1024 * 1024
_SMALL = 64 * 1024  # bytes
_PATHS = ("/v1/rerank", "/v2/rerank", "/rerank")  # clients append one of these

# Instead of Starlette's own messages.
_MESSAGES = {
    "Not Found": "there is nothing here: POST /v1/rerank ranks, GET /openapi.json describes it, "
    "/mcp speaks MCP",
    "Method Not Allowed": "/v1/rerank takes POST, /openapi.json GET",
}

T = TypeVar("T")


def rest_app(service: Service) -> Starlette:
    """The endpoints as an application; all its errors have one form."""
    endpoint = _RerankEndpoint(service)
    return Starlette(
        routes=[
            *(Route(path, endpoint.rerank, methods=["POST"]) for path in _PATHS),
            Route("/openapi.json", _openapi),
        ],
        exception_handlers={
            HTTPException: lambda _, error: error_response(
                error.status_code, _MESSAGES.get(error.detail, error.detail), error.headers
            ),
            ValidationError: lambda _, error: error_response(422, validation_message(error)),
            InputError: lambda _, error: error_response(422, error_message(error)),
            BusyError: lambda _, error: error_response(
                503, error_message(error), {"Retry-After": "1"}
            ),
            RearankError: lambda _, error: error_response(500, error_message(error)),
            ClientDisconnect: lambda *_: error_response(408, "the body did not arrive in time"),
            Exception: lambda *_: error_response(500, "the server failed: see its log"),
        },
    )


@dataclass(frozen=True)
class _RerankEndpoint:
    service: Service

    async def rerank(self, request: Request) -> Response:
        body = await _off_loop(_parse, await request.body())
        policy = self.service.reranker.policy
        models = dict.fromkeys((policy.name, MODEL))
        if body.model is not None and body.model not in models:
            has = ", ".join(models)
            raise HTTPException(404, f"there is no such model; there are: {has}; or leave it out")
        check_min_score(policy, body.min_score)
        ranking = await _while_connected(
            request, self.service.rank(body.query, body.passages, body.instruction or "")
        )
        version = "2" if request.url.path.startswith("/v2") else "1"
        return Response(to_response(body, ranking, policy, version), media_type="application/json")


async def _openapi(_: Request) -> Response:
    return JSONResponse(openapi_document())


def _parse(body: bytes) -> RerankRequest:
    try:
        sent = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise HTTPException(400, f"the body is not JSON in UTF-8: {error}") from None
    documents = sent.get("documents") if isinstance(sent, dict) else None
    check_count(len(documents) if isinstance(documents, list) else 0)
    return RerankRequest.model_validate(sent)


async def _off_loop(parse: Callable[[bytes], T], body: bytes) -> T:
    """The parsed body; a large one is parsed in a thread, so that others are answered meanwhile."""
    return await asyncio.to_thread(parse, body) if len(body) > _SMALL else parse(body)


async def _while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The work's result; it is cancelled when the client disconnects."""
    task = asyncio.create_task(work)
    disconnect = asyncio.create_task(_disconnect(request))
    try:
        await asyncio.wait([task, disconnect], return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        task.cancel()
        disconnect.cancel()
        await asyncio.gather(task, disconnect, return_exceptions=True)


async def _disconnect(request: Request) -> None:
    await request.receive()  # the only message after the body


def error_response(
    status: int, message: str, headers: Mapping[str, str] | None = None, **more: object
) -> JSONResponse:
    """An error as JSON, with `more` as further fields."""
    message = one_line(message)
    error = ErrorResponse(error=ErrorDetail(code=status, message=message), detail=message)
    return JSONResponse({**more, **error.model_dump()}, status, headers)
