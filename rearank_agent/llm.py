"""A language model as a judge: it thinks about every passage, then answers with an order.

It is never trusted blindly. A reply that can be read is read; one that needed mending says what
was mended; one without an answer is asked once more, for the answer alone; and where that is no
answer either, the window keeps its order. Each rung is a fault (REARANK, arXiv 2505.20046,
section 3, has the form of the reply; the rungs are ours).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Literal

from pydantic_ai.exceptions import (
    AgentRunError,
    ModelContextWindowExceededError,
    ModelRequestRejectedError,
)
from pydantic_ai.models import Model
from pydantic_ai.settings import ModelSettings

from rearank_agent.chat import Chat, Said, model_of, policy_error
from rearank_agent.errors import InputError, PolicyError
from rearank_agent.fit import LEAST_CUT, answer_tokens, fitted
from rearank_agent.listwise import (
    FORMAT_VERSION,
    Asked,
    Format,
    Message,
    Reading,
    ask,
    ask_again,
    begin_answer,
    identifiers,
    read,
)
from rearank_agent.passage import Fault, Passage, Reply, Task, Usage, Window
from rearank_agent.template import Template

__all__ = ["LLM", "Effort"]

Effort = Literal["minimal", "low", "medium", "high"]


class LLM:
    """A policy over any pydantic-ai model; safe to share between requests, threads and loops.

    Attributes:
        name: as `policy()` knows it: "vllm:NAME", "anthropic:NAME", ...
        form: whether it is asked for an order or for scores from 0 to 10. Only scores compare
            across windows.
        think: whether a thought is asked for, and thinking is on where the model can switch it.
        effort: how hard a model thinks that has such a setting.
        template: the words.
        budget: the most tokens of a reply, thought included; 2,048 as in the paper.
        cut: the most characters of a passage that are shown.
        window: the most passages shown at once.
        timeout: seconds a call may take.

    Raises:
        SetupError: the model's provider is not known, not installed or lacks its key or address.
        InputError: a setting is out of its range.
    """

    blend = 0.0

    def __init__(
        self,
        model: Model | Callable[[], Model] | str,
        *,
        name: str = "",
        form: Format = "order",
        think: bool = True,
        effort: Effort | None = None,
        template: Template | None = None,
        budget: int = 2048,
        cut: int = 1200,
        window: int = 20,
        timeout: float = 120.0,
    ) -> None:
        if form not in ("order", "scores"):
            raise InputError(f"the format must be order or scores, not {form!r}")
        if window < 2 or budget < 1 or cut < LEAST_CUT or not timeout > 0:
            raise InputError(
                f"a window must hold 2 passages or more, a reply 1 token, a passage {LEAST_CUT} "
                f"characters, a call more than 0 s: {window}, {budget}, {cut}, {timeout}"
            )
        self.form, self.think, self.effort = form, think, effort
        self.template = template or Template.default()
        self.budget, self.cut, self.window, self.timeout = budget, cut, window, timeout
        settings = ModelSettings(
            temperature=0.0, seed=0, max_retries=0, timeout=timeout, request_timeout=timeout
        )
        if not think:
            settings["thinking"] = False
        elif effort:
            settings["thinking"] = effort
        self.chat = Chat(model_of(model) if isinstance(model, str) else model, settings)
        sample = self.chat.sample
        self.name = name or (model if isinstance(model, str) else sample.model_id)

    @property
    def scores(self) -> bool:
        """Scores on one scale compare across windows; orders do not."""
        return self.form == "scores"

    @property
    def fingerprint(self) -> str:
        """The name, then all that the replies depend on."""
        taken = [s for s in ("temperature=0", "seed=0") if s[:-2] not in self.chat.dropped]
        how = ["think" if self.think else "direct", *([self.effort] if self.effort else [])]
        at = self.chat.sample.base_url
        return " ".join(
            [
                self.name, self.form, *how, f"words={self.template.fingerprint}",
                f"format={FORMAT_VERSION}", f"tokens={self.budget}", f"cut={self.cut}", *taken,
                *([f"at={at}"] if at else []),
            ]
        )  # fmt: skip

    async def judge(self, task: Task, window: Window) -> Reply:
        """Ask the model for the order of the window.

        Raises:
            PolicyError: the model could not be asked, or refused; the message has its words.
        """
        passages = [task.candidates[position] for position in window]
        ids = task.ids(window)
        try:
            asked, said = await self._ask(task, passages)
            reading = read(said.text, len(passages), self.form, ids)
            usage, faults = said.usage, list(asked.faults)
            if not reading.readable:
                why = "no answer in the reply" if said.whole else "the thought was cut off"
                detail = f"{why}; the answer alone was asked for"
                faults.append(Fault("reasked", ids, detail))
                reading, more = await self._ask_again(task, asked, said, ids)
                usage += more
        except AgentRunError as error:
            raise policy_error(error) from error
        if self.chat.dropped:
            detail = f"the model takes no {' and no '.join(self.chat.dropped)}; not sent"
            faults.append(Fault("setting", (), detail))
        return Reply(
            order=reading.order,
            scores=reading.scores,
            rationales=reading.rationales,
            reasoning=reading.thought,
            faults=(*faults, *reading.faults),
            usage=_divided(usage, said.text, reading.thought),
        )

    async def _ask(self, task: Task, passages: list[Passage]) -> tuple[Asked, Said]:
        """Ask; a window that the server finds too long is asked again with shorter passages."""
        cut = self.cut
        while True:
            asked, room = await self._fitted(task, passages, cut)
            try:
                return asked, await self.chat.say(task.run, asked.messages, max_tokens=room)
            except ModelContextWindowExceededError as error:
                longest = max(len(passage.content) for passage in passages)
                cut = min(cut, longest) // 2
                if cut < LEAST_CUT:
                    raise PolicyError(
                        f"a window of {len(passages)} passages is too long for the model: {error}"
                    ) from error

    async def _fitted(self, task: Task, passages: list[Passage], cut: int) -> tuple[Asked, int]:
        words = partial(
            ask,
            task.query,
            passages,
            instruction=task.instruction,
            form=self.form,
            think=self.think,
            template=self.template,
        )
        endpoint, most = await self.chat.endpoint(), await self.chat.length()
        if endpoint is None or most is None:
            return words(cut=cut), self.budget
        return await fitted(
            lambda cut: words(cut=cut),
            lengths=[len(passage.content) for passage in passages],
            cut=cut,
            budget=self.budget,
            most=most,
            count=endpoint.tokens,
        )

    async def _ask_again(
        self, task: Task, asked: Asked, said: Said, ids: tuple[str, ...]
    ) -> tuple[Reading, Usage]:
        """The reading of an answer alone; a thought already there is kept."""
        n = len(ids)
        begun = begin_answer(said.text)
        first = read(begun, n, self.form, ids)
        try:
            answer = await self._answer(task.run, asked, said, begun, n)
        except AgentRunError as error:
            (fault,) = first.faults
            told = f"{fault.detail}; asking again failed: {policy_error(error)}"
            return replace(first, faults=(replace(fault, detail=told),)), Usage(calls=1)
        second = read(answer.text, n, self.form, ids)
        if first.thought:
            second = replace(second, thought=first.thought, rationales=first.rationales)
        return second, answer.usage

    async def _answer(self, run: str, asked: Asked, said: Said, begun: str, n: int) -> Said:
        """Go on from the closed thought where the server can, else ask in one more turn."""
        if await self.chat.endpoint():
            bound = {
                "add_generation_prompt": False,
                "continue_final_message": True,
                "structured_outputs": {"regex": identifiers(n, self.form)},
            }
            last: Message = {"role": "assistant", "content": begun}
            try:
                more = await self.chat.say(
                    run, (*asked.messages, last), max_tokens=answer_tokens(n), extra_body=bound
                )
                return replace(more, text="<answer>" + more.text)
            except ModelRequestRejectedError:
                pass  # a chat template that cannot go on with a turn; ask in words
        again = ask_again(asked.messages, said.text, self.form, self.template)
        return await self.chat.say(run, again, max_tokens=self.budget)


def _divided(usage: Usage, said: str, thought: str) -> Usage:
    """The tokens that were not counted apart, divided as the characters are."""
    if not thought or not said:
        return usage
    share = round(usage.answer_tokens * min(1.0, len(thought) / len(said)))
    return replace(
        usage,
        thought_tokens=usage.thought_tokens + share,
        answer_tokens=usage.answer_tokens - share,
    )
