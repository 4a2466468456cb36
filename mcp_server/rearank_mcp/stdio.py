"""The server over stdin and stdout."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from io import TextIOWrapper
from typing import BinaryIO

import anyio
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage
from mcp.types import ErrorData, JSONRPCError

from rearank_agent.errors import InputError
from rearank_agent.json_text import parse_json
from rearank_mcp.json_limits import check_values
from rearank_mcp.pipes import MAX_LINE, exit_now, until_signal
from rearank_mcp.server import Server

__all__ = ["serve_stdio"]


def serve_stdio(server: Server, pipes: tuple[BinaryIO, BinaryIO]) -> None:
    """Serve until stdin ends, or a signal ends it."""
    asyncio.run(_serve(server, *pipes))


class _Lines(anyio.AsyncFile[str]):
    """Lines of JSON within bounds, with lone surrogates replaced.

    JavaScript writes one when it truncates a text within an emoji. The SDK drops such a message
    without an answer, and its sender waits in vain. A message with too many values is answered
    here, before it is parsed.
    """

    refuse: Callable[[JSONRPCError], Awaitable[None]]

    async def __aiter__(self) -> AsyncIterator[str]:
        while line := await anyio.to_thread.run_sync(self.wrapped.readline, MAX_LINE):
            try:
                if len(line) == MAX_LINE and not line.endswith("\n"):
                    await anyio.to_thread.run_sync(self._skip_rest)
                    raise InputError(f"a message has more than {MAX_LINE:,} characters")
                check_values(line)
            except InputError as error:
                await self.refuse(_error(line, str(error)))
            else:
                yield _ESCAPE.sub(_replace_lone, line) if "\\u" in line else line

    def _skip_rest(self) -> None:
        while (part := self.wrapped.readline(MAX_LINE)) and not part.endswith("\n"):
            pass


def _error(line: str, message: str) -> JSONRPCError:
    """The error for a message that is not parsed; its id stands before or after `params`."""
    head, _, rest = line.partition('"params"')
    found = _ID.search(head) or _ID.search(rest[rest.rfind("}", 0, rest.rfind("}")) :])
    sent = None
    with suppress(ValueError):  # no JSON after all, or half a character
        sent = parse_json(found[1]) if found else None
    return JSONRPCError(jsonrpc="2.0", id=sent, error=ErrorData(code=-32602, message=message))


_ID = re.compile(r'"id"\s*:\s*(-?\d{1,18}|"(?:[^"\\]|\\.){0,200}")')


_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    r"|(?P<lone>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)"
)


def _replace_lone(escape: re.Match[str]) -> str:
    return "\\ufffd" if escape["lone"] else escape[0]


async def _serve(server: Server, reading: BinaryIO, writing: BinaryIO) -> None:
    stdin = _Lines(TextIOWrapper(reading, encoding="utf-8", errors="replace"))
    stdout = anyio.wrap_file(TextIOWrapper(writing, encoding="utf-8"))
    async with stdio_server(stdin, stdout) as (incoming, outgoing):
        stdin.refuse = lambda error: outgoing.send(SessionMessage(error))
        if await until_signal(server.serve(incoming, outgoing)):
            exit_now()  # the thread that waits for stdin cannot be interrupted
