"""stdin and stdout as the wire, with nothing else on it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from io import TextIOWrapper
from typing import BinaryIO

import anyio
from mcp.server.stdio import stdio_server

from mcp_server.server import Server

__all__ = ["end", "speak", "take_wire"]


def take_wire() -> BinaryIO:
    """Keep stdout for the protocol; whatever prints from now on, in whatever way, prints to stderr.

    The SDK's own guard begins later, and gives stdout back before the buffers of what was printed
    meanwhile are flushed.
    """
    wire = os.fdopen(os.dup(1), "wb")
    try:
        os.dup2(2, 1)
    except OSError:  # stderr is closed
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.stdout.flush()
    sys.stdout = sys.stderr
    return wire


def speak(server: Server, wire: BinaryIO) -> None:
    """Serve until stdin ends, or a signal ends it."""
    asyncio.run(_speak(server, wire))


async def _speak(server: Server, wire: BinaryIO) -> None:
    stdout = anyio.wrap_file(TextIOWrapper(wire, encoding="utf-8"))
    async with stdio_server(stdout=stdout) as (incoming, outgoing):
        serving = asyncio.create_task(server.serve(incoming, outgoing))
        with contextlib.suppress(NotImplementedError):  # Windows ends programs in other ways
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, serving.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await serving
        if serving.cancelled():
            end()  # the thread that waits for stdin cannot be interrupted


def end() -> None:
    """End the process now: threads may still be reading files that nobody asks for any more."""
    sys.stderr.flush()
    os._exit(0)
