"""What a caller is told who cannot be answered: what is wrong, and who can mend it."""

from __future__ import annotations

from pydantic import ValidationError

from rearank_agent.errors import RearankError
from rearank_agent.redact import redact

__all__ = ["error_message", "validation_message"]


def error_message(error: RearankError) -> str:
    """What an error of ours says, without secrets."""
    return f"{redact(str(error)):.600}"


def validation_message(error: ValidationError) -> str:
    """Which fields are wrong, and how."""
    said = [f"{'.'.join(map(str, one['loc']))}: {one['msg'].lower()}" for one in error.errors()[:5]]
    return "; ".join(said)
