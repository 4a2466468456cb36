"""Errors of a model's call: as pydantic-ai's, as a policy's, and whether a retry is of use."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

from pydantic_ai.exceptions import (
    AgentRunError,
    ModelConnectionError,
    ModelContextWindowExceededError,
    ModelHTTPError,
    ModelQuotaExceededError,
    ModelRequestTimeout,
    ModelTimeoutError,
    UnexpectedModelBehavior,
)

from rearank_agent.errors import PolicyError
from rearank_agent.llm.bounded import unbounded_reply
from rearank_agent.llm.refusals import recognised
from rearank_agent.redact import redact
from rearank_agent.text import whole_characters
from rearank_agent.types import Usage

__all__ = ["policy_error", "readable_errors", "retry_pause"]

_MAX_PAUSE = 30.0
_UNEXPECTED = (TypeError, ValueError, LookupError, AttributeError)
_FINAL = (
    ModelContextWindowExceededError, ModelQuotaExceededError,
    ModelRequestTimeout, ModelTimeoutError,
)  # fmt: skip


@contextmanager
def readable_errors() -> Iterator[None]:
    """Errors as pydantic-ai's, and an answer that none of its code expected as one too."""
    try:
        yield
    except Exception as error:
        if unbounded := unbounded_reply(error):
            raise unbounded from error
        if isinstance(error, ModelHTTPError):
            raise recognised(error) from error
        if not isinstance(error, _UNEXPECTED):
            raise
        reason = f"{type(error).__name__}: {error}"
        raise UnexpectedModelBehavior(f"the answer could not be read: {reason}") from error


def policy_error(error: AgentRunError, usage: Usage | None = None) -> PolicyError:
    """The error as a policy raises it: the server's message, redacted."""
    message = str(error)
    if isinstance(error, ModelHTTPError):
        body = error.body
        reason = body.get("message", body) if isinstance(body, dict) else body
        message = f"the server answered {error.status_code}: {reason}"
    return PolicyError(whole_characters(redact(message))[:1000], usage)


def retry_pause(error: Exception, failures: int) -> float | None:
    """Seconds to wait before a retry; None where a retry is of no use."""
    if isinstance(error, _FINAL):
        return None
    if isinstance(error, ModelHTTPError):
        if error.status_code != 429 and error.status_code < 500:
            return None
        requested = error.retry_after
        if requested is not None:
            return requested if requested <= _MAX_PAUSE else None
    elif not isinstance(error, ModelConnectionError):
        return None
    return min(_MAX_PAUSE, 0.25 * 2.0**failures) * random.uniform(0.75, 1.25)  # noqa: S311
