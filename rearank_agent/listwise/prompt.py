"""What a language model is asked about one window of passages."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict

from rearank_agent.listwise.answer_format import Format, without_tags
from rearank_agent.listwise.sanitize import sanitize
from rearank_agent.listwise.template import Template, fill
from rearank_agent.types import Fault, Passage

__all__ = ["Message", "Prompt", "build_prompt", "reask_prompt"]

_OTHERWISE = "tags, control tokens or bracketed numbers were shown in other brackets"


class Message(TypedDict):
    """One turn of a chat."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """The messages of one window, and what was cut or neutralised to write them."""

    messages: tuple[Message, ...]
    faults: tuple[Fault, ...]


def build_prompt(
    query: str,
    passages: Sequence[Passage],
    *,
    instruction: str = "",
    form: Format = "order",
    think: bool = True,
    template: Template | None = None,
    cut: int = 1200,
) -> Prompt:
    """The messages that ask for the order, or the scores, of one window.

    Args:
        query: never cut.
        passages: the window; the model knows them as [1] to [n].
        instruction: one sentence on what relevant means here.
        form: of the answer.
        think: whether to ask for a thought before the answer.
        template: other words than the package's own.
        cut: the most characters of a passage's content that are shown.
    """
    words = template or Template.default()
    told = fill(words.instruction, instruction=sanitize(instruction)) if instruction else ""
    common = {"query": sanitize(query), "n": len(passages)}
    closing = f"{words.think if think else words.direct}\n{getattr(words, form)}"

    turns: list[Message] = []
    if words.system:
        turns.append({"role": "system", "content": fill(words.system, **common)})
    turns += _exchange(fill(words.opening, **common, instruction=told), words.opening_reply)
    contents = [passage.content.strip() for passage in passages]
    shown = [_shortened(content, cut) for content in contents]
    safe = [sanitize(text) for text in shown]
    for number, text in enumerate(safe, 1):
        turn = fill(words.passage, **common, number=number, text=text)
        turns += _exchange(turn, fill(words.passage_reply, number=number))
    turns.append({"role": "user", "content": fill(closing, **common)})
    short = _where(passages, contents, shown)
    faults = []
    if short:
        faults.append(Fault("cut", short, f"only the first {cut} characters were shown"))
    if (steering := _where(passages, shown, safe)) or sanitize(
        asked := query + instruction
    ) != asked:
        faults.append(Fault("neutralised", steering, _OTHERWISE))
    return Prompt(tuple(turns), tuple(faults))


def _exchange(said: str, answered: str) -> list[Message]:
    return [{"role": "user", "content": said}, {"role": "assistant", "content": answered}]


def _shortened(content: str, cut: int) -> str:
    if len(content) <= cut:
        return content
    head = content[:cut]
    return head.rsplit(maxsplit=1)[0] if re.search(r"\s", head) else head


def _where(
    passages: Sequence[Passage], before: Sequence[str], after: Sequence[str]
) -> tuple[str, ...]:
    changes = zip(passages, before, after, strict=True)
    return tuple(passage.id for passage, old, new in changes if old != new)


def reask_prompt(
    asked: Sequence[Message], reply: str, form: Format = "order", template: Template | None = None
) -> tuple[Message, ...]:
    """The messages that ask once more, for the answer alone, after a reply that held none."""
    words = template or Template.default()
    told: Message = {"role": "assistant", "content": without_tags(reply) or "..."}
    last: Message = {"role": "user", "content": f"{words.again}\n{getattr(words, form)}"}
    return (*asked, told, last)
