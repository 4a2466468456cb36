"""A program in a terminal of 80 columns."""

import os
import pty
import signal
import time
from collections.abc import Mapping
from pathlib import Path


def in_terminal(
    command: list[str], env: Mapping[str, str], folder: Path, interrupt: float = 0.0
) -> tuple[int, str]:
    """Run a command; its exit code and what a person sees.

    After `interrupt` seconds, if there are any, it is interrupted as by Ctrl-C.
    """
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.execve(command[0], command, {**env, "COLUMNS": "80", "LINES": "40", "TERM": "xterm"})
    if interrupt:
        time.sleep(interrupt)
        os.kill(pid, signal.SIGINT)
    shown = b""
    try:
        while chunk := os.read(terminal, 65536):
            shown += chunk
    except OSError:  # how Linux says that the other side is closed
        pass
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode()
