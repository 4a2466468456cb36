"""Conversion between chat completions as JSON and pydantic-ai's values."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

import httpx2
from pydantic_ai.exceptions import (
    ModelAuthenticationError,
    ModelContextWindowExceededError,
    ModelHTTPError,
    ModelNotFoundError,
    ModelRateLimitError,
    ModelRequestRejectedError,
    ModelServerError,
    ModelUnavailableError,
    UnexpectedModelBehavior,
)
from pydantic_ai.messages import (
    FinishReason,
    ModelMessage,
    ModelResponse,
    SystemPromptPart,
    TextPart,
    ThinkingPart,
    UserPromptPart,
)
from pydantic_ai.usage import RequestUsage

from rearank_agent.listwise.prompt import Message

__all__ = ["to_error", "to_messages", "to_response"]

_Category = type[
    ModelRequestRejectedError | ModelRateLimitError | ModelUnavailableError | ModelServerError
]
_CATEGORIES: dict[int, _Category] = {
    401: ModelAuthenticationError,
    403: ModelAuthenticationError,
    404: ModelNotFoundError,
    429: ModelRateLimitError,
    503: ModelUnavailableError,
}


def to_messages(messages: Sequence[ModelMessage]) -> list[Message]:
    """The messages as a chat completion takes them."""
    turns: list[Message] = []
    for message in messages:
        for part in message.parts:
            if isinstance(part, UserPromptPart):
                turns.append({"role": "user", "content": str(part.content)})
            elif isinstance(part, TextPart):
                turns.append({"role": "assistant", "content": part.content})
            elif isinstance(part, SystemPromptPart):
                turns.append({"role": "system", "content": part.content})
    return turns


def to_error(name: str, answer: httpx2.Response, text: bytes) -> ModelHTTPError:
    """The error of an answer with a status of 400 or more."""
    status = answer.status_code
    message = text.decode(errors="replace")
    try:
        value = json.loads(message)
        error = value.get("error", value)
        message = str(error.get("message", error) if isinstance(error, dict) else error)
    except (ValueError, AttributeError, RecursionError):
        pass
    too_long = status == 413 or (status == 400 and "maximum context length" in message)
    other: _Category = ModelServerError if status >= 500 else ModelRequestRejectedError
    return ModelHTTPError.for_category(
        ModelContextWindowExceededError if too_long else _CATEGORIES.get(status, other),
        status_code=status,
        model_name=name,
        body=message[:2000],
        headers=dict(answer.headers),
    )


def to_response(name: str, value: Mapping[str, Any]) -> ModelResponse:
    """The reply in a chat completion.

    Raises:
        UnexpectedModelBehavior: it is none.
    """
    try:
        choice = value["choices"][0]
        message = choice["message"]
        text = message.get("content") or ""
        reasoning = message.get("reasoning") or message.get("reasoning_content") or ""
        used = value.get("usage") or {}
        finish = choice.get("finish_reason")
        details = used.get("completion_tokens_details") or {}
        cached = (used.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
        parts = [ThinkingPart(str(reasoning))] if reasoning else []
        return ModelResponse(
            parts=[*parts, TextPart(str(text))],
            usage=RequestUsage(
                input_tokens=int(used.get("prompt_tokens") or 0),
                output_tokens=int(used.get("completion_tokens") or 0),
                cache_read_tokens=int(cached),
                details={k: v for k, v in details.items() if isinstance(v, int)},
            ),
            model_name=name,
            finish_reason=cast(FinishReason, finish) if finish in ("stop", "length") else None,
        )
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        start = json.dumps(value)[:200]
        message = f"the server's answer is no chat completion: {start}"
        raise UnexpectedModelBehavior(message) from error
