"""The OpenAPI document of the web service, made from its request and response models."""

from __future__ import annotations

from functools import cache
from typing import Any

from pydantic.json_schema import models_json_schema

import rearank_agent
from rearank_mcp.rest.schemas import ErrorResponse, RerankRequest, RerankResponse

__all__ = ["openapi_document"]

_DESCRIPTION = """\
Ranks documents by how well they answer a query. The same is served at /v2/rerank and /rerank,
for clients that append those."""

_ERRORS = {
    400: "The body is not JSON in UTF-8.",
    401: "The bearer token is missing or wrong.",
    403: "Web pages of this origin are not allowed.",
    404: "There is no such model; the message lists the models.",
    405: "Only POST is allowed.",
    408: "The body did not arrive in time.",
    413: "The body is too large.",
    421: "The host name is not allowed.",
    422: "Fields are missing or wrong, or the request is over a limit.",
    500: "The server failed.",
    503: "Too many requests at once; retry after Retry-After seconds.",
}

_DOCUMENT = {"text": "It leaps 20 cm.", "title": "Fleas", "page": 7}
_REQUEST = {
    "query": "how far can a flea jump",
    "documents": ["Dogs bark.", _DOCUMENT],
    "top_n": 1,
    "return_documents": True,
}
_RESPONSE = {
    "id": "0a1b2c3d4e5f",
    "model": "embedded",
    "results": [{"index": 1, "relevance_score": 0.5, "document": _DOCUMENT}],
    "usage": {"prompt_tokens": 0, "total_tokens": 0},
    "meta": {
        "api_version": {"version": "1"},
        "billed_units": {"search_units": 1},
        "warnings": [],
    },
}


@cache
def openapi_document() -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
    models = (RerankRequest, RerankResponse, ErrorResponse)
    _, schemas = models_json_schema(
        [(model, "validation") for model in models], ref_template="#/components/schemas/{model}"
    )
    operation = {
        "operationId": "rerank",
        "summary": "Put documents in order of relevance to a query",
        "description": _DESCRIPTION,
        "requestBody": {"required": True, "content": _json("RerankRequest", _REQUEST)},
        "responses": {
            "200": {
                "description": "The documents, best first.",
                "content": _json("RerankResponse", _RESPONSE),
            },
            **{str(status): _error(status, message) for status, message in _ERRORS.items()},
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
                    "description": "Required if the server was started with REARANK_TOKEN.",
                }
            },
        },
    }


def _error(status: int, message: str) -> dict[str, Any]:
    example = {"error": {"code": status, "message": message}, "detail": message}
    return {"description": message, "content": _json("ErrorResponse", example)}


def _json(model: str, example: object) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{model}"}
    return {"application/json": {"schema": schema, "example": example}}
