"""Error messages for callers: what is wrong and how to fix it."""

from __future__ import annotations

from pydantic import ValidationError

from rearank_agent.redact import redact
from rearank_agent.text import one_line

__all__ = ["error_message", "validation_message"]


def error_message(error: Exception) -> str:
    """The text of an error on one line, without secrets, at most 600 characters."""
    return one_line(redact(str(error)))[:600]


def validation_message(error: ValidationError) -> str:
    """Which fields are wrong, and how: the first five."""
    wrong = (
        f"{'.'.join(map(str, one['loc']))}: {one['msg'].lower()}" for one in error.errors()[:5]
    )
    return one_line("; ".join(wrong))
