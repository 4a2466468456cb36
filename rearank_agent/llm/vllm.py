"""A pydantic-ai model for vLLM: chat completions, and what vLLM alone can do.

It can be asked for tokens, the log-probabilities of a prompt and the model's context length, and
continues a turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from pydantic_ai.exceptions import (
    AgentRunError,
    ModelRequestRejectedError,
    UnexpectedModelBehavior,
)

from rearank_agent.listwise.prompt import Message
from rearank_agent.llm.endpoint import Endpoint
from rearank_agent.redact import redact

__all__ = ["ModelInfo", "VLLMModel"]

_TIMEOUT = 120.0  # seconds for reading a prompt


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What a server reports about a model.

    Attributes:
        length: the tokens of prompt and reply together that it takes; None if unknown.
        root: where it was loaded from: a folder, or the name of a repository; "" if unknown.
    """

    length: int | None = None
    root: str = ""

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        """The same from a row of the server's list."""
        length, root = row.get("max_model_len"), row.get("root")
        return cls(length if isinstance(length, int) else None, redact(str(root or "")))


class VLLMModel(Endpoint):
    """A model behind vLLM, for the event loop that uses it first.

    Raises:
        UnsetError: no address is given, and VLLM_BASE_URL is not set.
        SetupError: as for every endpoint.
    """

    defaults = {"repetition_penalty": 1.0}  # noqa: RUF012  else the model's own: Qwen2.5's is 1.05
    provider_name = "vllm"
    address_from, key_from = "VLLM_BASE_URL", "VLLM_API_KEY"
    unknown_address = (
        "no vLLM server is known: set VLLM_BASE_URL, as in http://127.0.0.1:8000/v1, "
        "or start one with: rearank-agent serve MODEL"
    )

    def __init__(self, name: str, base_url: str = "", key: str = "") -> None:
        super().__init__(name, base_url, key)
        self._info: asyncio.Task[ModelInfo] | None = None

    async def info(self) -> ModelInfo:
        """What the server reports about the model.

        It is asked once; all windows of a first turn wait for the same answer.
        """
        if self._info is None:
            self._info = asyncio.create_task(self._fetch_info())
        fetching = self._info
        try:
            return await asyncio.shield(fetching)
        except AgentRunError:
            if self._info is fetching:
                self._info = None
            raise

    async def _fetch_info(self) -> ModelInfo:
        try:
            return ModelInfo.of((await self.models()).get(self.model_name, {}))
        except (ModelRequestRejectedError, UnexpectedModelBehavior):
            return ModelInfo()

    async def tokens(self, messages: Sequence[Message]) -> int | None:
        """The tokens of a prompt; None if the server does not count."""
        try:
            body = {"model": self.model_name, "messages": list(messages)}
            counted = await self._json("/tokenize", body)
        except AgentRunError:
            return None
        count = counted.get("count")
        return count if isinstance(count, int) else None

    async def token_ids(self, text: str) -> list[int]:
        """The tokens of a text, without those that begin or end a prompt.

        Raises:
            ModelAPIError, UnexpectedModelBehavior: as `_send` does; or they are no tokens.
        """
        body = {"model": self.model_name, "prompt": text, "add_special_tokens": False}
        tokens = (await self._json("/tokenize", body)).get("tokens")
        if not isinstance(tokens, list):
            raise UnexpectedModelBehavior("the server gives no tokens; is it vLLM?")
        return tokens

    async def prompt_logprobs(self, prompt: str) -> list[Any]:
        """A row for each token of a prompt, {token id: {"logprob": number}}; None for the first.

        vLLM reads such a prompt anew, past its prefix cache.

        Raises:
            ModelAPIError, UnexpectedModelBehavior: as `_send` does; or there are none.
        """
        body = {
            "model": self.model_name,
            "prompt": prompt,
            "prompt_logprobs": 0,  # of the prompt's own tokens alone
            "max_tokens": 1,
            "temperature": 0.0,
        }
        answer = await self._send(f"{self._base_url}/completions", body, _TIMEOUT, dict)
        choices = answer.get("choices")
        first = choices[0] if isinstance(choices, list) and choices else None
        rows = first.get("prompt_logprobs") if isinstance(first, dict) else None
        if not isinstance(rows, list):
            raise UnexpectedModelBehavior(
                "the server gives no log-probabilities of a prompt; is it vLLM?"
            )
        return rows
