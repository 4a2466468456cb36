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

_HANDSHAKE = 60.0  # seconds that a server may take when it is started anew
_AT_ONCE = 0.5


class ChildServer:
    """A program that speaks MCP over its stdin and stdout; its stderr is ours.

    Attributes:
        lines: what it says, and where to say something to it.
        exited: its exit code, once it has ended.
    """

    def __init__(self, command: Sequence[str]) -> None:
        """Start it, from within a running event loop.

        Raises:
            SetupError: there is no such program, or it cannot be started.
        """
        program = shutil.which(command[0])
        if program is None:
            raise SetupError(f"there is no program {command[0]!r:.100} to start as a server")
        try:
            # In a session of its own, so that what it starts itself can be ended with it.
            self._process = subprocess.Popen(  # noqa: S603 - it is what the user wants to run
                [program, *command[1:]],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=sys.platform != "win32",
            )
        except OSError as error:
            raise SetupError(f"{program} cannot be started: {error.strerror or error}") from None
        waiting = ThreadPoolExecutor(1)
        self.exited = asyncio.get_running_loop().run_in_executor(waiting, self._process.wait)
        self.lines = Lines(
            cast("BinaryIO", self._process.stdout), cast("BinaryIO", self._process.stdin)
        )

    async def shake(self, opening: list[bytes]) -> None:
        """Say again what a host said to open the conversation; it has had the answer.

        Args:
            opening: the request, and what follows its answer.

        Raises:
            SetupError: the server does not answer.
        """
        self.lines.write(opening[0])
        try:
            async with asyncio.timeout(_HANDSHAKE):
                await self._answer(decode(opening[0])["id"])
        except OSError:  # and so is a time that is over
            raise SetupError(f"it gave no answer and {await self.end(_AT_ONCE)}") from None
        for line in opening[1:]:
            self.lines.write(line)

    async def _answer(self, key: Any) -> None:
        async for line in self.lines:
            answer = as_object(decode(line))
            if "method" not in answer and answer.get("id") == key:
                return
        raise BrokenPipeError

    async def converse(self, hear: Callable[[bytes], Awaitable[None]]) -> str:
        """Hear line after line until it ends; how it ended, in words."""
        heard = 0

        async def listen() -> None:
            nonlocal heard
            async for line in self.lines:
                heard += 1
                await hear(line)

        hearing = asyncio.create_task(listen())
        either: list[asyncio.Future[Any]] = [hearing, self.exited]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        before = -1
        while not hearing.done() and before < heard:  # what it said last is in the pipe yet
            before = heard
            await asyncio.wait([hearing], timeout=_AT_ONCE)
        error = hearing.exception() if hearing.done() else None
        hearing.cancel()
        fate = await self.end(1.0)
        why = getattr(error, "strerror", None) or repr(error)
        return f"was ended, since {why}" if error else fate

    async def end(self, patience: float) -> str:
        """End it: its input, then it, then by force, each after so many seconds; how, in words.

        What it started and left behind ends too.
        """
        self.lines.close()
        for number in ("", "SIGTERM", "SIGKILL"):
            if number:
                self._signal(number)
            if (await asyncio.wait([self.exited], timeout=patience))[0]:
                self._signal("SIGTERM")
                return _fate(self.exited.result())
        return "does not end"

    def kill(self) -> None:
        """End it now, and all that it started."""
        self._signal("SIGKILL")

    def _signal(self, name: str) -> None:
        with contextlib.suppress(OSError):
            if sys.platform == "win32":
                if not self.exited.done():
                    self._process.kill()
            else:
                os.killpg(self._process.pid, signal.Signals[name])


def _fate(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    with contextlib.suppress(ValueError):
        return f"was ended by {signal.Signals(-code).name}"
    return f"was ended by signal {-code}"
