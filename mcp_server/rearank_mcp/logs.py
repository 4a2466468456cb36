"""The logs of all libraries: on stderr, without secrets, and never in a flood."""

from __future__ import annotations

import logging
import time
from collections import Counter
from typing import TextIO

from rearank_agent.cli.console import LineFormatter

__all__ = ["quiet_handler", "to_stderr"]

MOST_LINES = 5
WINDOW = 60.0  # seconds in which so many lines of one kind are shown


class _NoFlood(logging.Filter):
    """Lets a few lines of a kind through in each minute; the last says that more are left out.

    A kind is a logger and a message before its arguments are put in: what a client can bring about
    as often as it likes has few kinds.
    """

    def __init__(self) -> None:
        super().__init__()
        self._seen: Counter[tuple[str, str]] = Counter()
        self._until = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        if (now := time.monotonic()) > self._until:
            self._seen.clear()
            self._until = now + WINDOW
        kind = (record.name, str(record.msg)[:100])
        self._seen[kind] += 1
        if self._seen[kind] == MOST_LINES:
            record.msg = f"{record.msg} (more of these are not shown for {WINDOW:g} s)"
        return self._seen[kind] <= MOST_LINES


def to_stderr() -> None:
    """Send warnings and errors of all libraries to stderr, and nothing else."""
    logging.basicConfig(handlers=[quiet_handler()], level=logging.WARNING, force=True)


def quiet_handler(stream: TextIO | None = None) -> logging.Handler:
    """A handler of warnings and errors, redacted and never a flood; stderr by default."""
    handler = logging.StreamHandler(stream)
    handler.setLevel(logging.WARNING)
    handler.setFormatter(LineFormatter())
    handler.addFilter(_NoFlood())
    return handler
