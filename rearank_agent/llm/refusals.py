"""What a server's refusal is about: a request that is too long, or a setting it does not take.

Providers have no common code for either, so both are known by codes where there are some and
else by phrases. The phrases are those of OpenAI, vLLM, llama.cpp, SGLang, LM Studio, TGI,
Ollama, Groq, Mistral, Cohere, Anthropic, Bedrock and Gemini.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from pydantic_ai.exceptions import ModelContextWindowExceededError, ModelHTTPError

__all__ = ["Refusals", "is_too_long", "recognised"]

T = TypeVar("T")

_TOO_LONG = re.compile(
    r"context_length_exceeded|exceed_context_size|max_model_len|request_too_large"
    r"|context (length|size|window|limit)|maximum (model|prompt|input) length"
    r"|(prompt|inputs?|messages?|request)\b.{0,60}\btoo (long|large)\b"
    r"|reduce (the|your) (length|size|prompt|messages|input)"
    r"|token count\b.{0,60}\bexceeds|too many (input )?tokens"
    r"|must have less than \d+ tokens|tokens`? \+ `?max_new_tokens`? must be"
    r"|context the overflows",
    re.IGNORECASE | re.DOTALL,
)
_TOO_LONG_STATUS = (400, 413, 422, 500)
_REFUSED_STATUS = (400, 422)
_FIELDS = {
    "temperature": ("temperature",),
    "seed": ("seed", "random_seed"),
    "repetition_penalty": ("repetition_penalty",),
    "thinking": (
        "thinking", "enable_thinking", "thinking_budget", "reasoning_effort",
        "reasoning", "chat_template_kwargs",
    ),
    "max_tokens": ("max_tokens", "max_new_tokens", "max_output_tokens"),
    "max_completion_tokens": ("max_completion_tokens",),
}  # fmt: skip
"""Our settings, and what the fields are called that carry them."""

_known: dict[str, dict[str, str]] = {}


def is_too_long(status: int, message: str) -> bool:
    """Whether an error means that prompt and reply are longer than the model takes.

    Args:
        status: of HTTP.
        message: the error's code, type and words.
    """
    return status == 413 or (status in _TOO_LONG_STATUS and bool(_TOO_LONG.search(message)))


def recognised(error: ModelHTTPError) -> ModelHTTPError:
    """The error, as ModelContextWindowExceededError where it means that."""
    if isinstance(error, ModelContextWindowExceededError):
        return error
    if not is_too_long(error.status_code, str(error.body)):
        return error
    return ModelHTTPError.for_category(
        ModelContextWindowExceededError,
        status_code=error.status_code,
        model_name=error.model_name,
        body=error.body,
        headers=error.headers,
    )


class Refusals:
    """The settings that a model's server refused, remembered for the process.

    Args:
        model: which model and server; all instances of it share what is known.

    Attributes:
        known: the settings not sent to it any more, and what is sent in place of each; "" for
            nothing.
    """

    def __init__(self, model: str) -> None:
        self.known = _known.setdefault(model, {})

    async def call(
        self, send: Callable[[Mapping[str, Any]], Awaitable[T]], settings: Mapping[str, Any]
    ) -> T:
        """What `send` returns for the settings, asked again without those the server refuses.

        A setting is remembered once a call without it succeeded.

        Raises:
            ModelHTTPError: a refusal that names no setting.
        """
        found: dict[str, str] = {}
        while True:
            sent = _without(settings, self.known | found)
            try:
                reply = await send(sent)
            except ModelHTTPError as error:
                if not (named := _refused(error, sent)):
                    raise
                found |= named
            else:
                self.known.update(found)
                return reply


def _without(settings: Mapping[str, Any], refused: Mapping[str, str]) -> dict[str, Any]:
    sent = dict(settings)
    for name, other in refused.items():
        if name in sent:
            value = sent.pop(name)
            if other and other not in refused:
                sent[other] = value
    return sent


def _refused(error: ModelHTTPError, sent: Mapping[str, Any]) -> dict[str, str]:
    """The settings among those sent that a refusal names, and what to send in place of each."""
    if error.status_code not in _REFUSED_STATUS or isinstance(
        error, ModelContextWindowExceededError
    ):
        return {}
    words = set(re.findall(r"\w+", str(error.body).lower()))
    named = {name: "" for name in _FIELDS if name in sent and words.intersection(_FIELDS[name])}
    if "max_tokens" in named and "max_completion_tokens" in words:
        named["max_tokens"] = "max_completion_tokens"
    return named
