"""The conversation about one window: from a good answer down to none, each rung a fault.

A reply that can be read is read; one that needed mending says what was mended; one without an
answer is asked once more, for the answer alone; and where that is no answer either, the window
keeps its order (REARANK, arXiv 2505.20046, section 3, has the form of the reply; the rungs are
ours).
"""

from __future__ import annotations

from collections.abc import Sequence
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
from rearank_agent.llm.chat import Chat, ChatReply, policy_error
from rearank_agent.llm.checkpoint import PromptConfig
from rearank_agent.types import Fault, Reply, Task, Usage, Window

__all__ = ["Conversation"]


class Conversation:
    """The conversation with a model about one window.

    Args:
        chat: the model.
        config: how it is asked.
        task, window: what is judged.
        length: the tokens of prompt and reply together that the model takes; None if unknown.
        hidden: tokens on top of the reply's budget, for a thought that counts as reply.
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
        self.spent: list[Usage] = []

    async def reply(self) -> Reply:
        """What the policy says of the window.

        Raises:
            PolicyError: the model could not be asked, or refused.
        """
        try:
            asked, said = await self._ask()
        except AgentRunError as error:
            raise policy_error(error, self._usage()) from error
        reading = self._read(said.text)
        self.spent.append(_divided(said, reading.thought))
        faults = list(asked.faults)
        if not reading.readable:
            why = "no answer in the reply" if said.whole else "the reply was cut off"
            faults.append(Fault("reasked", self.ids, f"{why}; the answer alone was asked for"))
            reading = await self._read_again(asked, said)
        if self.chat.dropped:
            detail = f"the model takes no {' and no '.join(self.chat.dropped)}; not sent"
            faults.append(Fault("setting", (), detail))
        return Reply(
            order=reading.order,
            scores=reading.scores,
            rationales=reading.rationales,
            reasoning=reading.thought,
            faults=(*faults, *reading.faults),
            usage=self._usage(),
        )

    def _usage(self) -> Usage:
        return sum(self.spent, Usage())

    def _read(self, text: str) -> ParsedReply:
        return parse_reply(text, len(self.ids), self.config.form, self.ids)

    async def _say(self, messages: Sequence[Message], **settings: object) -> ChatReply:
        return await self.chat.say(self.task.run, messages, self.spent, **settings)

    async def _ask(self) -> tuple[Prompt, ChatReply]:
        """Ask; a window that the server finds too long is asked again, all of it shorter."""
        cut, budget = self.config.cut, self.config.budget
        while True:
            asked, room = await self._fitted(cut, budget)
            try:
                return asked, await self._say(asked.messages, max_tokens=room)
            except ModelContextWindowExceededError as error:
                longest = max(len(passage.content) for passage in self.passages)
                cut, budget = min(cut, longest) // 2, max(1, budget // 2)
                if cut < MIN_CUT:
                    n, said = len(self.ids), policy_error(error)
                    raise PolicyError(
                        f"a window of {n} passages is too long for the model: {said}", self._usage()
                    ) from error

    async def _fitted(self, cut: int, budget: int) -> tuple[Prompt, int]:
        words = partial(
            build_prompt,
            self.task.query,
            self.passages,
            instruction=self.task.instruction,
            form=self.config.form,
            think=self.config.think,
            template=self.config.template,
        )
        if self.length is None:
            return words(cut=cut), budget + self.hidden
        return await fit_window(
            lambda cut: words(cut=cut),
            lengths=[len(passage.content) for passage in self.passages],
            cut=cut,
            budget=budget,
            most=self.length,
            count=partial(self.chat.tokens, self.task.run),
        )

    async def _read_again(self, asked: Prompt, said: ChatReply) -> ParsedReply:
        """The reading of an answer alone; a thought already there is kept."""
        first = self._read(answer_prefix(said.text))
        try:
            second = self._read(await self._answer(asked, said))
        except AgentRunError as error:
            failed = Fault("failed", self.ids, f"asking again: {policy_error(error)}")
            return replace(first, faults=(*first.faults, failed))
        if first.thought:
            return replace(second, thought=first.thought, rationales=first.rationales)
        return second

    async def _answer(self, asked: Prompt, said: ChatReply) -> str:
        """Go on from the closed thought where the server can, else ask in one more turn."""
        n, endpoint = len(self.ids), await self.chat.endpoint()
        if endpoint:
            bound = {
                "add_generation_prompt": False,
                "continue_final_message": True,
                "structured_outputs": {"regex": answer_regex(n, self.config.form)},
            }
            last: Message = {"role": "assistant", "content": answer_prefix(said.text)}
            turns = (*asked.messages, last)
            try:
                more = await self._say(turns, max_tokens=answer_tokens(n), extra_body=bound)
                self.spent.append(more.usage)
                return f"<answer>{more.bare}"
            except ModelRequestRejectedError:
                pass  # a chat template that cannot go on with a turn; ask in words
        again = reask_prompt(asked.messages, said.text, self.config.form, self.config.template)
        room = answer_tokens(n) if endpoint else self.config.budget
        more = await self._say(again, max_tokens=room, thinking=False)
        self.spent.append(more.usage)
        return more.text


def _divided(said: ChatReply, thought: str) -> Usage:
    """The reply's tokens; those that were not counted apart divided as the characters are."""
    usage = said.usage
    if usage.thought_tokens or not thought:
        return usage
    share = round(usage.answer_tokens * min(1.0, len(thought) / max(1, len(said.text))))
    return replace(usage, thought_tokens=share, answer_tokens=usage.answer_tokens - share)
