"""stdin and stdout for the protocol alone, and messages as lines over pipes."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import sys
from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, BinaryIO

__all__ = ["MAX_LINE", "Lines", "exit_now", "take_stdio", "until_signal"]

MAX_LINE = 32 * 1024 * 1024
"""Maximum bytes of a message; nothing more is read from the sender of a longer one."""


def take_stdio() -> tuple[BinaryIO, BinaryIO]:
    """stdin and stdout for the protocol alone: all other output goes to stderr from now on.

    The SDK's own guard begins later, and gives stdout back before the buffers of what was printed
    meanwhile are flushed.
    """
    incoming, outgoing = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    devnull = os.open(os.devnull, os.O_RDWR)
    os.dup2(devnull, 0)
    try:
        os.dup2(2, 1)
    except OSError:  # stderr is closed
        os.dup2(devnull, 1)
    sys.stdout.flush()
    sys.stdout = sys.stderr
    return incoming, outgoing


def exit_now() -> None:
    """End the process now: threads may still be reading files that nobody needs any more."""
    sys.stderr.flush()
    os._exit(0)


async def until_signal(work: Coroutine[Any, Any, None]) -> bool:
    """Run the work until it is done or a signal cancels it; whether one did."""
    task = asyncio.create_task(work)
    with suppress(NotImplementedError):  # Windows ends programs in other ways
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with suppress(asyncio.CancelledError):
        await task
    return task.cancelled()


class Lines:
    """Messages over two pipes, one per line; each pipe has its own thread.

    Raises:
        OSError: while iterating: a message is too long, or the pipe broke.
    """

    def __init__(self, incoming: BinaryIO, outgoing: BinaryIO) -> None:
        self._incoming, self._outgoing = incoming, outgoing
        self._reader, self._writer = ThreadPoolExecutor(1), ThreadPoolExecutor(1)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(self._reader, self._read):
            yield line

    def write(self, line: bytes) -> asyncio.Future[None]:
        """Queue a line for writing.

        Returns:
            Done when the line is written: await it to be no faster than the reader. It does not
            fail: a reader that has gone shows as the end of the incoming pipe.
        """
        return asyncio.get_running_loop().run_in_executor(self._writer, self._write, line)

    async def drained(self) -> None:
        """Wait until all queued lines are written."""
        await asyncio.get_running_loop().run_in_executor(self._writer, lambda: None)

    def close(self) -> None:
        """Close the outgoing pipe once all queued lines are written."""
        self._writer.submit(self._outgoing.close)

    def _read(self) -> bytes:
        line = self._incoming.readline(MAX_LINE)
        if len(line) == MAX_LINE and not line.endswith(b"\n"):
            raise OSError(errno.EMSGSIZE, f"a message has more than {MAX_LINE:,} bytes")
        return line

    def _write(self, line: bytes) -> None:
        with suppress(OSError, ValueError):  # the pipe is broken, or closed
            self._outgoing.write(line if line.endswith(b"\n") else line + b"\n")
            self._outgoing.flush()
