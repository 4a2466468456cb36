"""One text in, one text out, from any pydantic-ai model: what a thinking judge is made of.

No structured output type: the words that are sampled in training, served and scored are the same.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast
from weakref import WeakMethod

from pydantic_ai.direct import model_request
from pydantic_ai.exceptions import (
    AgentRunError,
    ModelConnectionError,
    ModelHTTPError,
    ModelQuotaExceededError,
    ModelRequestTimeout,
    ModelTimeoutError,
)
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    SystemPromptPart,
    TextPart,
    ThinkingPart,
    UserPromptPart,
)
from pydantic_ai.models import Model
from pydantic_ai.models.instrumented import InstrumentationSettings
from pydantic_ai.settings import ModelSettings
from pydantic_ai.usage import RequestUsage

from rearank_agent.errors import PolicyError
from rearank_agent.listwise.answer_format import join_thought
from rearank_agent.listwise.prompt import Message
from rearank_agent.llm.limits import process_cap, with_retries
from rearank_agent.llm.provider import supported_settings
from rearank_agent.llm.vllm import ModelInfo, VLLMModel
from rearank_agent.redact import redact
from rearank_agent.tracing import content_wanted, recording
from rearank_agent.types import Usage

__all__ = ["Chat", "ChatReply", "policy_error"]

_LONGEST_PAUSE = 30.0
_THOUGHT_TOKENS = (
    "reasoning_tokens", "output_reasoning_tokens", "thinking_tokens", "thoughts_tokens",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ChatReply:
    """A model's reply.

    Attributes:
        text: a thought the provider sent apart stands in front, inside its tags.
        bare: the same without these tags, for a reply that goes on from a closed thought: a
            server that parses thoughts out may take it for one.
        whole: whether it ended by itself, not at the limit of tokens.
        usage: its tokens, without the call; of the thought only those that the provider counts
            apart.
    """

    text: str
    bare: str
    whole: bool
    usage: Usage


class Chat:
    """A model that is asked politely: within the cap, in time, again where that may help.

    Attributes:
        sample: a model to ask about itself; the first event loop uses it too.
        dropped: the settings the model does not take, which are not sent.
    """

    def __init__(self, model: Model | Callable[[], Model], settings: ModelSettings) -> None:
        self._given = isinstance(model, Model)
        self._make: Callable[[], Model] = (lambda: model) if isinstance(model, Model) else model
        self._models: dict[asyncio.AbstractEventLoop, Model] = {}
        self._open: dict[asyncio.AbstractEventLoop, AsyncGenerator[None, None]] = {}
        self.sample = self._make()
        self._unused = iter([self.sample])  # to make one takes 30 ms
        self.dropped, self._settings = supported_settings(self.sample, settings)

    async def model(self) -> Model:
        """The model of this event loop.

        One made by us has connections that belong to the loop, and are closed when it ends. A
        model that was given is used as it is.
        """
        if self._given:
            return self.sample
        loop = asyncio.get_running_loop()
        if (model := self._models.get(loop)) is None:
            unused: Model | None = next(self._unused, None)
            model = self._models[loop] = unused or self._make()
            self._open[loop] = _opened(model, WeakMethod(self._forget), loop)
            await anext(self._open[loop])
        return model

    async def close(self) -> None:
        """Close the connections of this event loop now; they are opened again when needed."""
        if opened := self._open.get(asyncio.get_running_loop()):
            await opened.aclose()

    def _forget(self, loop: asyncio.AbstractEventLoop) -> None:
        self._models.pop(loop, None)
        self._open.pop(loop, None)

    async def endpoint(self) -> VLLMModel | None:
        """The model, if it is one that can count its tokens and go on with a turn."""
        model = await self.model()
        return model if isinstance(model, VLLMModel) else None

    async def served(self) -> ModelInfo:
        """What the model's server says of it, as far as it is known."""
        endpoint = await self.endpoint()
        return await with_retries(endpoint.served, _pause) if endpoint else ModelInfo()

    async def tokens(self, run: str, messages: Sequence[Message]) -> int | None:
        """The tokens of a prompt; None where nobody can count them."""
        if (endpoint := await self.endpoint()) is None:
            return None
        async with process_cap().place(run):
            return await endpoint.tokens(messages)

    async def serving(self) -> ModelInfo | None:
        """What the model's server says of it now; None where it is not behind vLLM.

        Raises:
            PolicyError: the server cannot be asked, or does not serve the model.
        """
        if (endpoint := await self.endpoint()) is None:
            return None
        try:
            models = await endpoint.models()
        except AgentRunError as error:
            raise policy_error(error) from error
        if endpoint.model_name not in models:
            there = ", ".join(models) or "none"
            raise PolicyError(f"{endpoint.base_url} serves {there}, and no {endpoint.model_name!r}")
        return ModelInfo.of(models[endpoint.model_name])

    async def say(
        self, run: str, messages: Sequence[Message], spent: list[Usage], **settings: Any
    ) -> ChatReply:
        """The model's reply.

        Args:
            run: the request it is for; requests share the cap fairly.
            messages: system, user and assistant turns.
            spent: every call is put down here, also one that fails.
            settings: for this call, over those of all calls.

        Raises:
            ModelAPIError, UnexpectedModelBehavior: as pydantic-ai raises them.
        """
        model = await self.model()
        turns = _turns(messages)
        told = cast(ModelSettings, self._settings | settings)
        instrument = (
            InstrumentationSettings(include_content=content_wanted()) if recording() else None
        )

        async def call() -> ModelResponse:
            async with process_cap().place(run):
                spent.append(Usage(calls=1))
                return await model_request(model, turns, model_settings=told, instrument=instrument)

        return _said(await with_retries(call, _pause))


async def _opened(
    model: Model,
    forget: WeakMethod[Callable[[asyncio.AbstractEventLoop], None]],
    loop: asyncio.AbstractEventLoop,
) -> AsyncGenerator[None, None]:
    """Keep a model open: an event loop that ends closes the generators begun on it."""
    try:
        async with model:
            yield
    finally:
        if told := forget():
            told(loop)


def policy_error(error: AgentRunError, usage: Usage | None = None) -> PolicyError:
    """The error as a policy tells it: what the server said, without any key."""
    said = str(error)
    if isinstance(error, ModelHTTPError):
        body = error.body
        told = body.get("message", body) if isinstance(body, dict) else body
        said = f"the server answered {error.status_code}: {told}"
    return PolicyError(redact(said)[:1000], usage)


def _turns(messages: Sequence[Message]) -> list[ModelMessage]:
    """The messages as pydantic-ai takes them; they share a time and a usage, which cost to make."""
    now, nothing = datetime.now(UTC), RequestUsage()
    turns: list[ModelMessage] = []
    for message in messages:
        role, content = message["role"], message["content"]
        if role == "assistant":
            turns.append(ModelResponse([TextPart(content)], usage=nothing, timestamp=now))
        elif role == "system":
            turns.append(ModelRequest([SystemPromptPart(content, timestamp=now)]))
        else:
            turns.append(ModelRequest([UserPromptPart(content, timestamp=now)]))
    return turns


def _said(response: ModelResponse) -> ChatReply:
    thought = "\n".join(p.content for p in response.parts if isinstance(p, ThinkingPart)).strip()
    answer = "".join(p.content for p in response.parts if isinstance(p, TextPart))
    whole = response.finish_reason != "length"
    used = response.usage
    apart = max((used.details.get(name, 0) for name in _THOUGHT_TOKENS), default=0)
    usage = Usage(
        prompt_tokens=used.input_tokens,
        cached_tokens=used.cache_read_tokens,
        thought_tokens=apart,
        answer_tokens=max(0, used.output_tokens - apart),
    )
    text = join_thought(thought, answer, ended=whole or bool(answer.strip()))
    return ChatReply(text, thought + answer, whole, usage)


def _pause(error: Exception, failures: int) -> float | None:
    """Seconds to wait before the call is made again; None where that is of no use."""
    if isinstance(error, ModelQuotaExceededError | ModelTimeoutError | ModelRequestTimeout):
        return None
    if isinstance(error, ModelHTTPError):
        if error.status_code != 429 and error.status_code < 500:
            return None
        asked = error.retry_after
        if asked is not None:
            return asked if asked <= _LONGEST_PAUSE else None
    elif not isinstance(error, ModelConnectionError):
        return None
    return min(_LONGEST_PAUSE, 0.25 * 2.0**failures) * random.uniform(0.75, 1.25)  # noqa: S311
