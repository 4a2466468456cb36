"""Query likelihood as the policy: how probable the query is behind each passage."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

from rearank_agent.errors import InputError, PolicyError
from rearank_agent.llm.likelihood_prompt import LikelihoodPrompt
from rearank_agent.llm.prompt_logprobs import EndOfPrompt, PromptLogprobs
from rearank_agent.policies.protocol import best_first, gaps_last, instruction_fault
from rearank_agent.policies.quotes import Quotes
from rearank_agent.types import Fault, Reply, Task, Usage, Window

__all__ = ["Likelihood"]


class Likelihood:
    """Scores by the probability of the query given the passage, by any language model.

    The model needs no training for it: it reads the prompt of each passage, and what counts is
    mean(log P(token | passage, tokens before it)) over the query's tokens (`raw`), as in UPR
    (Sachan et al., arXiv 2204.07496, section 2.2). The score is the exponential of it, from 0 to
    1: the geometric mean of the tokens' probabilities.

    Quotes are those of the shipped encoder for the ten best passages of a window, and chosen by
    the query's terms for the others.

    Args:
        model: "vllm:NAME"; only vLLM gives the log-probabilities of a prompt.
        prompt: the words, as `LikelihoodPrompt.parse` takes them; "" for our own.
        cut: the characters of a passage that are read at most.

    Raises:
        InputError: another provider's model, or a prompt that cannot be used.
        UnsetError: VLLM_BASE_URL is not set.
        SetupError: the address cannot be used.
    """

    scores = True
    scale = 1.0
    blend = 0.3
    window = 100

    def __init__(self, model: str, *, prompt: str = "", cut: int = 500) -> None:
        provider, _, name = model.partition(":")
        if provider != "vllm" or not name:
            raise InputError(
                f"likelihood:{model} cannot be asked: only vLLM gives the log-probabilities of a "
                "prompt, as in likelihood:vllm:NAME"
            )
        self.name = f"likelihood:{model}"
        self.prompt, self.cut = LikelihoodPrompt.parse(prompt), cut
        self._model = PromptLogprobs(name)
        self._quotes = Quotes()

    @property
    def fingerprint(self) -> str:
        """The name, the words, the cut, the server's address, and whose quotes are shown."""
        return (
            f"{self.name} words={self.prompt.fingerprint} cut={self.cut} "
            f"at={self._model.base_url} {self._quotes.fingerprint}"
        )

    async def judge(self, task: Task, window: Window) -> Reply:
        """Ask the model about every passage of the window, each in a call of its own.

        A passage that the server refuses comes last, with the fault `missing`.

        Raises:
            PolicyError: the server could not be asked, or refused all.
        """
        passages = [task.candidates[position] for position in window]
        built = self.prompt.build(task.query, passages, self.cut)
        last = await self._model.count(built.query, behind=self.prompt.ending)
        found = await self._all(built.texts, last)
        read = [one if isinstance(one, EndOfPrompt) else None for one in found]
        raw = gaps_last([one.mean if one else None for one in read])
        order = best_first(raw)
        return Reply(
            order=order,
            scores=tuple(map(math.exp, raw)),
            raw=raw,
            rationales=await asyncio.to_thread(self._quotes.of_window, task, window, order),
            faults=(
                *instruction_fault(task, self.name),
                *built.faults,
                *_missing(found, task.ids(window)),
            ),
            usage=Usage(calls=len(found), prompt_tokens=sum(one.tokens for one in read if one)),
        )

    async def _all(self, prompts: Sequence[str], last: int) -> list[EndOfPrompt | PolicyError]:
        """For each prompt what was found, or the error; raises it when all failed."""

        async def one(prompt: str) -> EndOfPrompt | PolicyError:
            try:
                return await self._model.end(prompt, last)
            except PolicyError as error:
                return error

        found = await asyncio.gather(*map(one, prompts))
        errors = [error for error in found if isinstance(error, PolicyError)]
        if errors and len(errors) == len(found):
            raise errors[0]
        return found


def _missing(found: Sequence[EndOfPrompt | PolicyError], ids: Sequence[str]) -> tuple[Fault, ...]:
    """The fault of passages without an answer, with the first one's error."""
    errors = {id_: one for id_, one in zip(ids, found, strict=True) if isinstance(one, PolicyError)}
    if not errors:
        return ()
    reason = next(iter(errors.values()))
    return (Fault("missing", tuple(errors), f"not scored, put last: {reason}"),)
