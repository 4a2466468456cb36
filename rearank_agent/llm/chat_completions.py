"""Conversion between chat completions as JSON and pydantic-ai's values."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

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
from rearank_agent.llm.refusals import is_too_long
from rearank_agent.redact import redact

__all__ = ["to_error", "to_messages", "to_response"]

_MAX_TOKENS = 2**53
"""Above it, other programs than Python round a number in JSON."""

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


def to_error(
    name: str, status: int, text: bytes, headers: Mapping[str, str] | None = None
) -> ModelHTTPError:
    """The error of an answer, by its status and body.

    Args:
        name: of the model.
        status: of HTTP; of an error inside a good answer the code it gives.
        text: the body.
        headers: may ask for a pause before a retry.
    """
    message = kind = redact(text.decode(errors="replace"))  # before it is cut
    try:
        value = json.loads(message)
        error = value.get("error", value)
        message = str(error.get("message", error) if isinstance(error, dict) else error)
        codes = [error.get("code"), error.get("type")] if isinstance(error, dict) else []
        kind = " ".join([*map(str, codes), message])
    except (ValueError, AttributeError, RecursionError):
        pass
    too_long = is_too_long(status, kind)
    other: _Category = ModelServerError if status >= 500 else ModelRequestRejectedError
    return ModelHTTPError.for_category(
        ModelContextWindowExceededError if too_long else _CATEGORIES.get(status, other),
        status_code=status,
        model_name=name,
        body=message[:2000],
        headers=headers,
    )


def to_response(name: str, value: Mapping[str, Any]) -> ModelResponse:
    """The reply in a chat completion.

    Raises:
        ModelHTTPError: it holds an error instead, as gateways send with the status 200.
        UnexpectedModelBehavior: it is none.
    """
    if inside := _error_inside(value):
        code = inside.get("code")
        status = code if isinstance(code, int) and 400 <= code <= 599 else 200
        raise to_error(name, status, json.dumps({"error": inside}).encode())
    try:
        choice = value["choices"][0]
        message = choice["message"]
        text, thought = _texts(message.get("content"))
        reasoning = message.get("reasoning") or message.get("reasoning_content") or thought
        used = _object(value.get("usage"))
        finish = choice.get("finish_reason")
        details = _object(used.get("completion_tokens_details"))
        cached = _object(used.get("prompt_tokens_details")).get("cached_tokens")
        parts = [ThinkingPart(str(reasoning))] if reasoning else []
        return ModelResponse(
            parts=[*parts, TextPart(text)],
            usage=RequestUsage(
                input_tokens=_count(used.get("prompt_tokens")),
                output_tokens=_count(used.get("completion_tokens")),
                cache_read_tokens=_count(cached),
                details={name: _count(number) for name, number in details.items()},
            ),
            model_name=str(value.get("model") or name),
            finish_reason=cast(FinishReason, finish) if finish in ("stop", "length") else None,
        )
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        start = redact(json.dumps(value))[:200]
        message = f"the server's answer is no chat completion: {start}"
        raise UnexpectedModelBehavior(message) from error


def _object(value: Any) -> dict[str, Any]:
    """The value if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def _count(value: object) -> int:
    """A number of tokens; 0 for what is none, since a good order is not lost for its price."""
    return value if isinstance(value, int) and 0 <= value < _MAX_TOKENS else 0


def _error_inside(value: Mapping[str, Any]) -> dict[str, Any] | None:
    """The error in an answer that should be a completion, of the whole or of its choice."""
    choices = value.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    holders = [value, first] if isinstance(first, dict) else [value]
    for holder in holders:
        error = holder.get("error")
        if error and not _object(_object(first).get("message")).get("content"):
            return error if isinstance(error, dict) else {"message": str(error)}
    return None


def _texts(content: object) -> tuple[str, str]:
    """The answer and the reasoning of a message's content: a text, or a list of parts."""
    if not isinstance(content, list):
        return str(content or ""), ""
    answer, reasoning = "", ""
    for part in content:
        if not isinstance(part, dict):
            answer += str(part)
        elif "thinking" in part:
            inner = part["thinking"]
            reasoning += _texts(inner)[0] if isinstance(inner, list) else str(inner)
        else:
            answer += str(part.get("text") or "")
    return answer, reasoning
