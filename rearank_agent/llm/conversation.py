"""The conversation about one window: ask, repair or ask again, each step a fault.

A readable reply is parsed; what had to be repaired is a fault; after a reply without an answer
the model is asked again, for the answer alone; and if there is still none the window keeps its
order (REARANK, arXiv 2505.20046, section 3, has the format of the reply; these steps are ours).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from pydantic_ai.exceptions import (
    AgentRunError,
    ModelContextWindowExceededError,
    ModelRequestRejectedError,
)

from rearank_agent.errors import PolicyError
from rearank_agent.listwise import build_prompt, parse_reply
from rearank_agent.listwise.answer_format import answer_prefix, answer_regex
from rearank_agent.listwise.prompt import Message, Prompt, reask_prompt
from rearank_agent.listwise.reply import ParsedReply
from rearank_agent.llm.budget import MIN_CUT, answer_tokens, fit_window
from rearank_agent.llm.chat import Chat
from rearank_agent.llm.chat_reply import ChatReply
from rearank_agent.llm.checkpoint import PromptConfig
from rearank_agent.llm.model_errors import policy_error
from rearank_agent.types import Fault, Reply, Task, Usage, Window

__all__ = ["Conversation"]


class Conversation:
    """The conversation with a model about one window.

    Args:
        chat: the model.
        config: how it is prompted.
        task, window: what is ranked.
        length: the tokens of prompt and reply together that the model takes; None if unknown.
        hidden: tokens on top of the reply's budget, for reasoning that counts as reply.
    """

    def __init__(
        self,
        chat: Chat,
        config: PromptConfig,
        task: Task,
        window: Window,
        *,
        length: int | None = None,
        hidden: int = 0,
    ) -> None:
        self.chat, self.config, self.task = chat, config, task
        self.length, self.hidden = length, hidden
        self.passages = [task.candidates[position] for position in window]
        self.ids = task.ids(window)
        self.usages: list[Usage] = []
        self.reply_faults: dict[Fault, None] = {}  # of all replies, each once

    async def reply(self) -> Reply:
        """The policy's reply for the window.

        Raises:
            PolicyError: the model could not be called, or refused.
        """
        try:
            prompt, first = await self._ask()
        except AgentRunError as error:
            raise policy_error(error, self._usage()) from error
        parsed = self._parse(first.text)
        self.usages.append(_divided(first, parsed.reasoning))
        faults = list(prompt.faults)
        if not parsed.readable:
            why = "no answer in the reply" if first.complete else "the reply was cut off"
            faults.append(Fault("reasked", self.ids, f"{why}; the answer alone was asked for"))
            parsed = await self._reask(prompt, first)
        faults += self._settings()
        return Reply(
            order=parsed.order,
            scores=parsed.scores,
            rationales=parsed.rationales,
            reasoning=parsed.reasoning,
            faults=(*faults, *self.reply_faults, *parsed.faults),
            usage=self._usage(),
        )

    def _settings(self) -> Iterator[Fault]:
        """A fault for the settings that were not sent."""
        if self.chat.dropped:
            detail = f"the model takes no {' and no '.join(self.chat.dropped)}; not sent"
            yield Fault("setting", (), detail)
        if refused := self.chat.refusals.known:
            changes = (f"{s}, sent as {other}" if other else s for s, other in refused.items())
            yield Fault("setting", (), f"the server refused {' and '.join(changes)}")

    def _usage(self) -> Usage:
        return sum(self.usages, Usage())

    def _parse(self, text: str) -> ParsedReply:
        return parse_reply(text, len(self.ids), self.config.form, self.ids)

    async def _generate(self, messages: Sequence[Message], **settings: object) -> ChatReply:
        reply = await self.chat.generate(messages, self.usages, **settings)
        self.reply_faults |= dict.fromkeys(reply.faults)
        return reply

    async def _ask(self) -> tuple[Prompt, ChatReply]:
        """Generate; a window the server finds too long is shortened and sent again."""
        cut, budget = self.config.cut, self.config.budget
        while True:
            prompt, room = await self._fitted(cut, budget)
            try:
                return prompt, await self._generate(prompt.messages, max_tokens=room)
            except ModelContextWindowExceededError as error:
                longest = max(len(passage.content) for passage in self.passages)
                cut, budget = min(cut, longest) // 2, max(1, budget // 2)
                if cut < MIN_CUT:
                    n, reason = len(self.ids), policy_error(error)
                    message = f"a window of {n} passages is too long for the model: {reason}"
                    raise PolicyError(message, self._usage()) from error

    async def _fitted(self, cut: int, budget: int) -> tuple[Prompt, int]:
        build = partial(
            build_prompt,
            self.task.query,
            self.passages,
            instruction=self.task.instruction,
            form=self.config.form,
            think=self.config.think,
            template=self.config.template,
        )
        if self.length is None:
            return build(cut=cut), budget + self.hidden
        return await fit_window(
            lambda cut: build(cut=cut),
            lengths=[len(passage.content) for passage in self.passages],
            cut=cut,
            budget=budget,
            max_tokens=self.length,
            count=self.chat.tokens,
        )

    async def _reask(self, prompt: Prompt, reply: ChatReply) -> ParsedReply:
        """Ask for the answer alone; reasoning already there is kept."""
        first = self._parse(answer_prefix(reply.text))
        try:
            second = self._parse(await self._answer(prompt, reply))
        except AgentRunError as error:
            failed = Fault("failed", self.ids, f"asking again: {policy_error(error)}")
            return replace(first, faults=(*first.faults, failed))
        if first.reasoning:
            return replace(second, reasoning=first.reasoning, rationales=first.rationales)
        return second

    async def _answer(self, prompt: Prompt, reply: ChatReply) -> str:
        """Continue after the closed reasoning where the server can, else ask in one more turn."""
        n, endpoint = len(self.ids), await self.chat.endpoint()
        if endpoint:
            constraint = {
                "add_generation_prompt": False,
                "continue_final_message": True,
                "structured_outputs": {"regex": answer_regex(n, self.config.form)},
            }
            last: Message = {"role": "assistant", "content": answer_prefix(reply.text)}
            turns = (*prompt.messages, last)
            try:
                second = await self._generate(
                    turns, max_tokens=answer_tokens(n), extra_body=constraint
                )
                self.usages.append(second.usage)
                return f"<answer>{second.untagged}"
            except ModelRequestRejectedError:
                pass  # a chat template that cannot continue a turn
        again = reask_prompt(prompt.messages, reply.text, self.config.form, self.config.template)
        room = answer_tokens(n) if endpoint else self.config.budget
        second = await self._generate(again, max_tokens=room, thinking=False)
        self.usages.append(second.usage)
        return second.text


def _divided(reply: ChatReply, reasoning: str) -> Usage:
    """The reply's tokens; if not counted separately, divided in proportion to characters."""
    usage = reply.usage
    if usage.thought_tokens or not reasoning:
        return usage
    share = round(usage.answer_tokens * min(1.0, len(reasoning) / max(1, len(reply.text))))
    return replace(usage, thought_tokens=share, answer_tokens=usage.answer_tokens - share)
