"""Refusals before a request reaches its endpoint, readable for REST and JSON-RPC clients."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import JSONResponse

from rearank_mcp.rest.api import error_response

__all__ = ["refused"]


def refused(status: int, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """An error for both kinds of client."""
    return error_response(status, message, headers, jsonrpc="2.0", id=None)
