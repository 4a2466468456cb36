"""Another MCP server, as a process behind two pipes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import BinaryIO, cast

from mcp_server.pipes import Lines
from rearank_agent.errors import SetupError

__all__ = ["Wrapped"]


class Wrapped:
    """A program that speaks MCP over its stdin and stdout; its stderr is ours.

    Attributes:
        lines: what it says, and where to say something to it.
    """

    def __init__(self, command: Sequence[str]) -> None:
        """Start it.

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
        self.lines = Lines(
            cast("BinaryIO", self._process.stdout), cast("BinaryIO", self._process.stdin)
        )

    async def end(self, patience: float) -> str:
        """End it: its input, then it, then by force, each after so many seconds; how, in words."""
        self.lines.close()
        for number in (None, "SIGTERM", "SIGKILL"):
            if number:
                self._signal(number)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    return _fate(await self._exit())
        return "does not end"

    def kill(self) -> None:
        """End it now."""
        self._signal("SIGKILL")

    async def _exit(self) -> int:
        # A thread that waits could not be called off; looking now and then can.
        while (code := self._process.poll()) is None:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        return code

    def _signal(self, name: str) -> None:
        with contextlib.suppress(OSError):
            if sys.platform == "win32":
                self._process.kill()
            else:
                os.killpg(self._process.pid, signal.Signals[name])


def _fate(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    with contextlib.suppress(ValueError):
        return f"was ended by {signal.Signals(-code).name}"
    return f"was ended by signal {-code}"
