"""A program in a terminal of 80 columns."""

import os
import pty
import signal
from collections.abc import Mapping
from pathlib import Path


def in_terminal(
    command: list[str], env: Mapping[str, str], folder: Path, interrupt_at: str = ""
) -> tuple[int, str]:
    """Run a command; its exit code and what a person sees.

    Once it has shown the text `interrupt_at`, if one is given, it is interrupted as by Ctrl-C.
    """
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.execve(command[0], command, {**env, "COLUMNS": "80", "LINES": "40", "TERM": "xterm"})
    shown = b""
    try:
        while chunk := os.read(terminal, 65536):
            shown += chunk
            if interrupt_at and interrupt_at.encode() in shown:
                os.kill(pid, signal.SIGINT)
                interrupt_at = ""
    except OSError:  # how Linux says that the other side is closed
        pass
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode()
