"""The logs of all libraries: on stderr, without secrets."""

from __future__ import annotations

import logging

from rearank_agent.redact import redact

__all__ = ["to_stderr"]


class _Redacted(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


def to_stderr() -> None:
    """Send warnings and errors of all libraries to stderr, and nothing else."""
    handler = logging.StreamHandler()
    handler.setLevel(logging.WARNING)
    handler.setFormatter(_Redacted("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
