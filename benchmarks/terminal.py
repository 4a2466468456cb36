"""A program in a terminal of 80 columns."""

import os
import pty
import signal
from collections.abc import Mapping
from pathlib import Path
from threading import Event, Thread


def in_terminal(
    command: list[str], env: Mapping[str, str], folder: Path, interrupt: float = 0.0
) -> tuple[int, str]:
    """Run a command; its exit code and what a person sees.

    After `interrupt` seconds, if there are any, it is interrupted as by Ctrl-C; again after ten,
    as a person would whose key came while Python was importing, where it can be lost.
    """
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.execve(command[0], command, {**env, "COLUMNS": "80", "LINES": "40", "TERM": "xterm"})
    ended = Event()
    if interrupt:
        Thread(target=_interrupt, args=(pid, interrupt, ended), daemon=True).start()
    shown = b""
    try:
        while chunk := os.read(terminal, 65536):
            shown += chunk
    except OSError:  # how Linux says that the other side is closed
        pass
    ended.set()
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode()


def _interrupt(pid: int, seconds: float, ended: Event) -> None:
    while not ended.wait(seconds):
        os.kill(pid, signal.SIGINT)
        seconds = 10.0
