"""A terminal of 80 columns for a program under test."""

import os
import pty
import signal
import sys
import time
from pathlib import Path

PROGRAM = str(Path(sys.executable).parent / "rearank-agent")


def in_terminal(args, wait=0.0):
    """Run the program with these arguments; its exit code and what a person sees.

    After `wait` seconds it is interrupted as by Ctrl-C.
    """
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(COLUMNS="80", LINES="40", TERM="xterm")
        os.execv(PROGRAM, [PROGRAM, *args])
    if wait:
        time.sleep(wait)
        os.kill(pid, signal.SIGINT)
    shown = b""
    try:
        while chunk := os.read(terminal, 65536):
            shown += chunk
    except OSError:  # how Linux says that the other side is closed
        pass
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode()
