"""Another MCP server, as a process behind two pipes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO, cast

from rearank_agent.errors import SetupError
from rearank_mcp.pipes import Lines
from rearank_mcp.proxy.messages import as_object, decode

__all__ = ["ChildServer"]

_HANDSHAKE_SECONDS = 60.0  # for the handshake after a restart
_SHORT_WAIT = 0.5  # seconds


class ChildServer:
    """A program that speaks MCP over its stdin and stdout; it inherits our stderr.

    Attributes:
        lines: the messages from it and to it.
        exited: its exit code, once it has ended.
    """

    def __init__(self, command: Sequence[str]) -> None:
        """Start it, in a running event loop.

        Raises:
            SetupError: the program is not found, or cannot be started.
        """
        program = shutil.which(command[0])
        if program is None:
            raise SetupError(f"there is no program {command[0]!r:.100} to start as a server")
        try:
            # In a session of its own, so that its own children can be ended with it.
            self._process = subprocess.Popen(  # noqa: S603 - the user's own command
                [program, *command[1:]],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=sys.platform != "win32",
            )
        except OSError as error:
            raise SetupError(f"{program} cannot be started: {error.strerror or error}") from None
        thread = ThreadPoolExecutor(1)
        self.exited = asyncio.get_running_loop().run_in_executor(thread, self._process.wait)
        self.lines = Lines(
            cast("BinaryIO", self._process.stdout), cast("BinaryIO", self._process.stdin)
        )

    async def repeat_handshake(self, handshake: list[bytes]) -> None:
        """Send a host's handshake again; the host has had the answer already.

        Args:
            handshake: the request, and the messages that follow its answer.

        Raises:
            SetupError: the server does not answer.
        """
        self.lines.write(handshake[0])
        try:
            async with asyncio.timeout(_HANDSHAKE_SECONDS):
                await self._skip_answer(decode(handshake[0])["id"])
        except OSError:  # TimeoutError is one too
            raise SetupError(f"it gave no answer and {await self.end(_SHORT_WAIT)}") from None
        for line in handshake[1:]:
            self.lines.write(line)

    async def _skip_answer(self, key: Any) -> None:
        async for line in self.lines:
            answer = as_object(decode(line))
            if "method" not in answer and answer.get("id") == key:
                return
        raise BrokenPipeError

    async def read_until_exit(self, on_line: Callable[[bytes], Awaitable[None]]) -> str:
        """Call `on_line` with each line until the server ends; gives how it ended, in words."""
        count = 0

        async def read() -> None:
            nonlocal count
            async for line in self.lines:
                count += 1
                await on_line(line)

        reading = asyncio.create_task(read())
        either: list[asyncio.Future[Any]] = [reading, self.exited]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        before = -1
        while not reading.done() and before < count:  # its last lines are still in the pipe
            before = count
            await asyncio.wait([reading], timeout=_SHORT_WAIT)
        error = reading.exception() if reading.done() else None
        reading.cancel()
        ending = await self.end(1.0)
        why = getattr(error, "strerror", None) or repr(error)
        return f"was ended, since {why}" if error else ending

    async def end(self, seconds: float) -> str:
        """End it: close its stdin, then SIGTERM, then SIGKILL; gives how it ended, in words.

        Its children end too.

        Args:
            seconds: to wait after each step.
        """
        self.lines.close()
        for number in ("", "SIGTERM", "SIGKILL"):
            if number:
                self._signal(number)
            if (await asyncio.wait([self.exited], timeout=seconds))[0]:
                self._signal("SIGTERM")
                return _exit_text(self.exited.result())
        return "does not end"

    def kill(self) -> None:
        """Kill it and its children now."""
        self._signal("SIGKILL")

    def _signal(self, name: str) -> None:
        with contextlib.suppress(OSError):
            if sys.platform == "win32":
                if not self.exited.done():
                    self._process.kill()
            else:
                os.killpg(self._process.pid, signal.Signals[name])


def _exit_text(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    with contextlib.suppress(ValueError):
        return f"was ended by {signal.Signals(-code).name}"
    return f"was ended by signal {-code}"
