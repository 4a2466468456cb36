"""The server over stdin and stdout."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from io import TextIOWrapper
from typing import BinaryIO

import anyio
from mcp.server.stdio import stdio_server

from rearank_mcp.pipes import exit_now, until_signal
from rearank_mcp.server import Server

__all__ = ["serve_stdio"]


def serve_stdio(server: Server, pipes: tuple[BinaryIO, BinaryIO]) -> None:
    """Serve until stdin ends, or a signal ends it."""
    asyncio.run(_serve(server, *pipes))


class _Lines(anyio.AsyncFile[str]):
    """Lines of JSON, with lone surrogates replaced.

    JavaScript writes one when it truncates a text within an emoji. The SDK drops such a message
    without an answer, and its sender waits in vain.
    """

    async def __aiter__(self) -> AsyncIterator[str]:
        async for line in super().__aiter__():
            yield _ESCAPE.sub(_replace_lone, line) if "\\u" in line else line


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
        if await until_signal(server.serve(incoming, outgoing)):
            exit_now()  # the thread that waits for stdin cannot be interrupted
