"""A terminal of 80 columns for a program under test."""

import os
import re
import sys
from pathlib import Path

from benchmarks import terminal

PROGRAM = str(Path(sys.executable).parent / "rearank-agent")


def in_terminal(args, interrupt_at=""):
    """Run the program with these arguments; its exit code and what a person sees.

    Once it has shown the text `interrupt_at`, if one is given, it is interrupted as by Ctrl-C.
    """
    return terminal.in_terminal([PROGRAM, *args], os.environ, Path.cwd(), interrupt_at)


def typed_in_terminal(line):
    """Type a line of a shell that finds the program; the exit code and what a person sees."""
    path = f"{Path(PROGRAM).parent}{os.pathsep}{os.environ['PATH']}"
    env = os.environ | {"PATH": path}
    return terminal.in_terminal(["/bin/bash", "-c", line], env, Path.cwd())


def plain(shown):
    """What a person sees, without colours and movements of the cursor."""
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\r", "", shown)
