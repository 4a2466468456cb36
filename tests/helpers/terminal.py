"""A terminal of 80 columns for a program under test."""

import os
import sys
from pathlib import Path

from benchmarks import terminal

PROGRAM = str(Path(sys.executable).parent / "rearank-agent")


def in_terminal(args, wait=0.0):
    """Run the program with these arguments; its exit code and what a person sees.

    After `wait` seconds it is interrupted as by Ctrl-C.
    """
    return terminal.in_terminal([PROGRAM, *args], os.environ, Path.cwd(), wait)
