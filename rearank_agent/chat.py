"""One text in, one text out, from any pydantic-ai model: what a thinking judge is made of.

No structured output type: the words that are sampled in training, served and scored are the same.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast
from weakref import WeakKeyDictionary

from pydantic_ai.direct import model_request
from pydantic_ai.exceptions import (
    AgentRunError,
    ModelConnectionError,
    ModelHTTPError,
    ModelQuotaExceededError,
    ModelRequestTimeout,
    ModelTimeoutError,
    UserError,
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
from pydantic_ai.models import Model, infer_model
from pydantic_ai.models.instrumented import InstrumentationSettings
from pydantic_ai.settings import ModelSettings
from pydantic_ai.usage import RequestUsage

from rearank_agent.endpoint import Endpoint
from rearank_agent.errors import PolicyError, SetupError
from rearank_agent.limits import patiently, process_cap
from rearank_agent.listwise import Message, glue
from rearank_agent.passage import Usage
from rearank_agent.tracing import content_wanted, recording

__all__ = ["Chat", "Said", "model_of", "policy_error"]

_LONGEST_PAUSE = 30.0


@dataclass(frozen=True, slots=True)
class Said:
    """A model's reply.

    Attributes:
        text: a thought the provider sent apart stands in front, inside its tags.
        whole: whether it ended by itself, not at the limit of tokens.
        usage: what it cost; of the thought only those tokens that the provider counts apart.
    """

    text: str
    whole: bool
    usage: Usage


class Chat:
    """A model that is asked politely: within the cap, in time, again where that may help.

    Attributes:
        dropped: the settings the model does not take, which are not sent.
    """

    def __init__(self, model: Model | Callable[[], Model], settings: ModelSettings) -> None:
        self._make = model if callable(model) and not isinstance(model, Model) else lambda: model
        self._models: WeakKeyDictionary[asyncio.AbstractEventLoop, Model] = WeakKeyDictionary()
        self._open: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncIterator[None]] = (
            WeakKeyDictionary()
        )
        self.sample = self._make()
        refused = _refused(self.sample, settings)
        self.dropped = tuple(sorted(refused & {"temperature", "seed", "max_tokens"}))
        self._settings = {key: value for key, value in settings.items() if key not in refused}

    async def model(self) -> Model:
        """The model of this event loop; its connections are closed when the loop ends."""
        loop = asyncio.get_running_loop()
        if (model := self._models.get(loop)) is None:
            model = self._models[loop] = self._make() if self._models else self.sample
            self._open[loop] = _opened(model)
            await anext(self._open[loop])
        return model

    async def endpoint(self) -> Endpoint | None:
        """The model, if it is one that can count its tokens and go on with a turn."""
        model = await self.model()
        return model if isinstance(model, Endpoint) else None

    async def length(self) -> int | None:
        """The tokens of prompt and reply together that the model takes; None if not known."""
        endpoint = await self.endpoint()
        return await patiently(endpoint.length, _pause) if endpoint else None

    async def serving(self) -> dict[str, Any] | None:
        """What the model's server says of it; None where it is not behind vLLM.

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
        return models[endpoint.model_name]

    async def say(self, run: str, messages: Sequence[Message], **settings: Any) -> Said:
        """The model's reply.

        Args:
            run: the request it is for; requests share the cap fairly.
            messages: system, user and assistant turns.
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
        calls = 0

        async def call() -> ModelResponse:
            nonlocal calls
            async with process_cap().place(run):
                calls += 1
                return await model_request(model, turns, model_settings=told, instrument=instrument)

        response = await patiently(call, _pause)
        return _said(response, calls)


def model_of(name: str) -> Callable[[], Model]:
    """What makes the model of a name, "provider:model", as pydantic-ai knows them.

    Raises:
        SetupError: the provider is not known, not installed or lacks its key or address.
    """
    provider, _, model = name.partition(":")

    def make() -> Model:
        if provider == "vllm":
            return Endpoint(model)
        try:
            return infer_model(name)
        except ImportError as error:
            said = str(error).replace("\n", " ")
            raise SetupError(f"{name} needs a package: {said}") from None
        except (UserError, ValueError) as error:
            raise SetupError(f"{name}: {error}") from None

    return make


def policy_error(error: AgentRunError) -> PolicyError:
    """The error as a policy tells it: what the server said, without any key."""
    if isinstance(error, ModelHTTPError):
        body = error.body
        told = body.get("message", body) if isinstance(body, dict) else body
        said = f"the server answered {error.status_code}: {told}"
    else:
        said = str(error)
    for key, value in os.environ.items():
        if re.search(r"(KEY|TOKEN|SECRET)$", key) and len(value) >= 4:
            said = said.replace(value, "***")
    return PolicyError(said[:1000])


async def _opened(model: Model) -> AsyncIterator[None]:
    """Keep a model open: an event loop that ends closes the generators begun on it."""
    async with model:
        yield


def _refused(model: Model, settings: ModelSettings) -> set[str]:
    """The settings the model ignores, or drops with a warning while it reasons."""
    profile: dict[str, Any] = dict(model.profile)
    refused = set[str](model.unsupported_settings)
    refused |= set(profile.get("openai_unsupported_model_settings") or ())
    reasons = profile.get("openai_supports_reasoning", False)
    efforts = profile.get("openai_reasoning_efforts") or ()
    can_rest = "none" in efforts or profile.get("openai_supports_reasoning_effort_none", False)
    at_rest = settings.get("thinking") is False and not profile.get("thinking_always_enabled")
    if reasons and not (can_rest and at_rest):
        refused.add("temperature")
    if profile.get("anthropic_disallows_sampling_settings", False):
        refused.add("temperature")
    return refused


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


def _said(response: ModelResponse, calls: int) -> Said:
    thought = "\n".join(p.content for p in response.parts if isinstance(p, ThinkingPart)).strip()
    answer = "".join(p.content for p in response.parts if isinstance(p, TextPart))
    whole = response.finish_reason != "length"
    text = glue(thought, answer, ended=whole or bool(answer.strip()))
    used = response.usage
    hidden = used.details.get("reasoning_tokens", 0)
    usage = Usage(
        calls=calls,
        prompt_tokens=used.input_tokens,
        cached_tokens=used.cache_read_tokens,
        thought_tokens=hidden,
        answer_tokens=max(0, used.output_tokens - hidden),
    )
    return Said(text, whole, usage)


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
