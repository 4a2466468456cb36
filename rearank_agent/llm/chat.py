"""Chat with any pydantic-ai model: messages in, one text out, with the cap and retries.

No structured output type: the text sampled in training, served and scored is the same.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

from pydantic_ai.direct import model_request
from pydantic_ai.exceptions import AgentRunError, ModelNotFoundError
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    SystemPromptPart,
    TextPart,
    UserPromptPart,
)
from pydantic_ai.models import Model
from pydantic_ai.models.instrumented import InstrumentationSettings
from pydantic_ai.settings import ModelSettings
from pydantic_ai.usage import RequestUsage

from rearank_agent.errors import PolicyError
from rearank_agent.listwise.prompt import Message
from rearank_agent.llm.chat_reply import ChatReply, to_reply
from rearank_agent.llm.endpoint import Endpoint
from rearank_agent.llm.limits import process_cap, with_retries
from rearank_agent.llm.model_errors import policy_error, readable_errors, retry_pause
from rearank_agent.llm.per_loop import PerLoop
from rearank_agent.llm.provider import supported_settings
from rearank_agent.llm.refusals import Refusals
from rearank_agent.llm.vllm import ModelInfo, VLLMModel
from rearank_agent.queueing.work import current_work
from rearank_agent.redact import redact
from rearank_agent.tracing import content_wanted, recording
from rearank_agent.types import Usage

__all__ = ["Chat"]


class Chat:
    """A model, called within the process's cap and with retries.

    Attributes:
        first_model: has the model's name, address and settings; the first event loop uses it.
        dropped: the settings the model does not take, which are not sent.
        refusals: the settings that its server turned out to refuse.
    """

    def __init__(self, model: Model | Callable[[], Model], settings: ModelSettings) -> None:
        self._per_loop: PerLoop[Model] | None = None
        if isinstance(model, Model):
            self.first_model = model
        else:
            self._per_loop = PerLoop(model)
            self.first_model = self._per_loop.first
        self.dropped, kept = supported_settings(self.first_model, settings)
        self._settings = {**getattr(self.first_model, "defaults", {}), **kept}
        model_id, at = self.first_model.model_id, self.first_model.base_url
        self.refusals = Refusals(f"{model_id} {at}")

    async def model(self) -> Model:
        """The model of this event loop.

        One made by us has connections that belong to the loop, and are closed when it ends. A
        model that was given is used as it is.
        """
        return await self._per_loop.get() if self._per_loop else self.first_model

    async def close(self) -> None:
        """Close the connections of this event loop now; they are opened again when needed."""
        if self._per_loop:
            await self._per_loop.close()

    async def endpoint(self) -> VLLMModel | None:
        """The model, if it can count tokens and continue a turn; else None."""
        model = await self.model()
        return model if isinstance(model, VLLMModel) else None

    async def model_info(self) -> ModelInfo:
        """What the model's server reports about it, asked for once; empty without vLLM."""
        endpoint = await self.endpoint()
        return await with_retries(endpoint.info, retry_pause) if endpoint else ModelInfo()

    async def tokens(self, messages: Sequence[Message]) -> int | None:
        """The tokens of a prompt; None where they cannot be counted."""
        if (endpoint := await self.endpoint()) is None:
            return None
        async with process_cap().slot(current_work(1)):
            return await endpoint.tokens(messages)

    async def check_served(self) -> ModelInfo | None:
        """What the model's server reports about it now; None where it lists no models.

        Raises:
            PolicyError: the server does not answer, or does not serve the model.
        """
        endpoint = await self.model()
        if not isinstance(endpoint, Endpoint):
            return None
        try:
            models = await endpoint.models()
        except AgentRunError as error:
            if isinstance(error, ModelNotFoundError) and not isinstance(endpoint, VLLMModel):
                return None  # a list is optional beside chat completions
            raise policy_error(error) from error
        if endpoint.model_name not in models:
            names = redact(", ".join(models)) or "none"
            raise PolicyError(f"{endpoint.base_url} serves {names}, and no {endpoint.model_name!r}")
        return ModelInfo.of(models[endpoint.model_name])

    async def generate(
        self, messages: Sequence[Message], usages: list[Usage], **settings: Any
    ) -> ChatReply:
        """The model's reply.

        Args:
            messages: system, user and assistant turns.
            usages: every call is appended here, also one that fails.
            settings: for this call, over those of all calls.

        Raises:
            ModelAPIError, UnexpectedModelBehavior: as pydantic-ai raises them.
        """
        model = await self.model()
        turns = _turns(messages)
        instrument = (
            InstrumentationSettings(include_content=content_wanted()) if recording() else None
        )

        async def call(sent: Mapping[str, Any]) -> ModelResponse:
            wanted = cast(ModelSettings, sent)
            async with process_cap().slot(current_work(1)):
                usages.append(Usage(calls=1))
                with readable_errors():
                    return await model_request(
                        model, turns, model_settings=wanted, instrument=instrument
                    )

        def send(sent: Mapping[str, Any]) -> Awaitable[ModelResponse]:
            return with_retries(lambda: call(sent), retry_pause)

        return to_reply(await self.refusals.call(send, self._settings | settings), model)


def _turns(messages: Sequence[Message]) -> list[ModelMessage]:
    """The messages as pydantic-ai takes them; they share a time and a usage, slow to make."""
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
