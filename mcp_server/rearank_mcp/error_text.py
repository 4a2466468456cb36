"""Error messages for callers: what is wrong and how to fix it."""

from __future__ import annotations

from pydantic import ValidationError

from rearank_agent.errors import RearankError
from rearank_agent.redact import redact

__all__ = ["error_message", "validation_message"]


def error_message(error: RearankError) -> str:
    """The text of an error without secrets, at most 600 characters."""
    return f"{redact(str(error)):.600}"


def validation_message(error: ValidationError) -> str:
    """Which fields are wrong, and how: the first five."""
    wrong = (
        f"{'.'.join(map(str, one['loc']))}: {one['msg'].lower()}" for one in error.errors()[:5]
    )
    return "; ".join(wrong)
