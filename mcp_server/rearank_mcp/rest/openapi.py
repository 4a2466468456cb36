"""The web service as OpenAPI describes it: made from the very models that read and write it."""

from __future__ import annotations

from functools import cache
from typing import Any

from pydantic.json_schema import models_json_schema

import rearank_agent
from rearank_mcp.rest.schemas import ErrorResponse, RerankRequest, RerankResponse

__all__ = ["document"]

_ABOUT = """\
Ranks documents by how well they answer a query. The same is served at /v2/rerank and /rerank,
for clients that append those."""

_REFUSALS = {
    400: "The body is not JSON in UTF-8.",
    401: "The bearer token is missing or wrong.",
    403: "Pages of this origin may not call.",
    404: "There is no such model; the message names those there are.",
    405: "Only POST ranks.",
    408: "The body did not come in time.",
    413: "The body is too large.",
    421: "The server is not called by this name.",
    422: "Fields are missing or wrong, or there is more than is ranked in one request.",
    500: "The server failed.",
    503: "Too many requests are being answered; ask again after Retry-After seconds.",
}

_LEAP = {"text": "It leaps 20 cm.", "title": "Fleas", "page": 7}
_ASKED = {
    "query": "how far can a flea jump",
    "documents": ["Dogs bark.", _LEAP],
    "top_n": 1,
    "return_documents": True,
}
_ANSWERED = {
    "id": "0a1b2c3d4e5f",
    "model": "embedded",
    "results": [{"index": 1, "relevance_score": 0.5, "document": _LEAP}],
    "usage": {"prompt_tokens": 0, "total_tokens": 0},
    "meta": {
        "api_version": {"version": "1"},
        "billed_units": {"search_units": 1},
        "warnings": [],
    },
}


@cache
def document() -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
    models = (RerankRequest, RerankResponse, ErrorResponse)
    _, schemas = models_json_schema(
        [(model, "validation") for model in models], ref_template="#/components/schemas/{model}"
    )
    operation = {
        "operationId": "rerank",
        "summary": "Put documents in order of relevance to a query",
        "description": _ABOUT,
        "requestBody": {"required": True, "content": _json("RerankRequest", _ASKED)},
        "responses": {
            "200": {
                "description": "The best first.",
                "content": _json("RerankResponse", _ANSWERED),
            },
            **{str(status): _refusal(status, told) for status, told in _REFUSALS.items()},
        },
        "security": [{}, {"bearer": []}],
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "rearank-agent", "version": rearank_agent.__version__},
        "paths": {"/v1/rerank": {"post": operation}},
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "Wanted where the server was started with REARANK_TOKEN.",
                }
            },
        },
    }


def _refusal(status: int, told: str) -> dict[str, Any]:
    example = {"error": {"code": status, "message": told}, "detail": told}
    return {"description": told, "content": _json("ErrorResponse", example)}


def _json(model: str, example: object) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{model}"}
    return {"application/json": {"schema": schema, "example": example}}
