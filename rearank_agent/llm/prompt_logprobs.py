"""The log-probabilities of a prompt's last tokens, by a language model behind vLLM."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic_ai.exceptions import AgentRunError, UnexpectedModelBehavior

from rearank_agent.errors import PolicyError
from rearank_agent.llm.limits import process_cap, with_retries
from rearank_agent.llm.model_errors import policy_error, retry_pause
from rearank_agent.llm.per_loop import PerLoop
from rearank_agent.llm.vllm import VLLMModel
from rearank_agent.queueing.work import current_work

__all__ = ["EndOfPrompt", "PromptLogprobs"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class EndOfPrompt:
    """The last tokens of a prompt.

    Attributes:
        mean: of their log-probabilities, each given all tokens before it.
        tokens: of the whole prompt.
    """

    mean: float
    tokens: int


class PromptLogprobs:
    """A model behind vLLM that reads prompts, within the process's cap and with retries.

    Args:
        model: what the server calls it.

    Raises:
        UnsetError: VLLM_BASE_URL is not set.
        SetupError: the address cannot be used.
    """

    def __init__(self, model: str) -> None:
        self._connections = PerLoop(lambda: VLLMModel(model))
        self.base_url = self._connections.first.base_url

    async def count(self, text: str, behind: str) -> int:
        """The tokens of a text that stands behind another.

        Raises:
            PolicyError: the server could not be asked, or does not count.
        """
        alone = await self._call(lambda server: server.token_ids(behind))
        both = await self._call(lambda server: server.token_ids(behind + text))
        shared = 0
        while shared < min(len(alone), len(both)) and alone[shared] == both[shared]:
            shared += 1
        if shared == len(both):
            raise _unexpected("tokens of the prompt do not change with the query")
        return len(both) - shared

    async def end(self, prompt: str, last: int) -> EndOfPrompt:
        """What the model makes of the last tokens of a prompt.

        Args:
            prompt: read by the server as it is, without a chat template.
            last: how many tokens, at least 1.

        Raises:
            PolicyError: the server could not be asked, refused, or gave no log-probabilities.
        """
        rows = await self._call(lambda server: server.prompt_logprobs(prompt))
        try:
            if len(rows) <= last:
                raise ValueError
            values = [_value(row) for row in rows[-last:]]
        except (AttributeError, TypeError, ValueError, KeyError):
            raise _unexpected("log-probabilities of the prompt are no numbers") from None
        return EndOfPrompt(math.fsum(values) / last, len(rows))

    async def _call(self, ask: Callable[[VLLMModel], Awaitable[T]]) -> T:
        async def once() -> T:
            server = await self._connections.get()
            async with process_cap().slot(current_work(1)):
                return await ask(server)

        try:
            return await with_retries(once, retry_pause)
        except AgentRunError as error:
            raise policy_error(error) from error


def _unexpected(what: str) -> PolicyError:
    return policy_error(UnexpectedModelBehavior(f"the server's {what}"))


def _value(row: dict[str, Any]) -> float:
    """The log-probability in a row, {token id: {"logprob": number, ...}}, of the prompt's token."""
    (token,) = row.values()
    value = token["logprob"]
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError
    return float(value)
