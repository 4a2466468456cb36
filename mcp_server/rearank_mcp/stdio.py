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


def serve_stdio(server: Server, wires: tuple[BinaryIO, BinaryIO]) -> None:
    """Serve until stdin ends, or a signal ends it."""
    asyncio.run(_speak(server, *wires))


class _Lines(anyio.AsyncFile[str]):
    """Lines of JSON, with half characters in them replaced.

    JavaScript writes one when it cuts a text within an emoji. The SDK drops such a message without
    an answer, and its sender waits for nothing.
    """

    async def __aiter__(self) -> AsyncIterator[str]:
        async for line in super().__aiter__():
            yield _ESCAPE.sub(_whole, line) if "\\u" in line else line


_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    r"|(?P<half>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)"
)


def _whole(escape: re.Match[str]) -> str:
    return "\\ufffd" if escape["half"] else escape[0]


async def _speak(server: Server, reading: BinaryIO, writing: BinaryIO) -> None:
    stdin = _Lines(TextIOWrapper(reading, encoding="utf-8", errors="replace"))
    stdout = anyio.wrap_file(TextIOWrapper(writing, encoding="utf-8"))
    async with stdio_server(stdin, stdout) as (incoming, outgoing):
        if await until_signal(server.serve(incoming, outgoing)):
            exit_now()  # the thread that waits for stdin cannot be interrupted
