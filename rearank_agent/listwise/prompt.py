"""The prompt for one window of passages."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict

from rearank_agent.listwise.answer_format import Format, without_tags
from rearank_agent.listwise.sanitize import neutralise, sanitize
from rearank_agent.listwise.template import Template, fill
from rearank_agent.types import Fault, Passage

__all__ = [
    "Message", "Prompt", "build_prompt", "prompt_faults", "reask_prompt", "shown_text",
    "truncate",
]  # fmt: skip

_NEUTRALISED = "tags or control tokens were shown in other brackets, or hidden text was left out"


class Message(TypedDict):
    """One turn of a chat."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """The messages of one window, and what was truncated or neutralised in them."""

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
    cut: int | None = None,
) -> Prompt:
    """The messages that ask for the order, or the scores, of one window.

    Args:
        query: never truncated.
        passages: the window; the model knows them as [1] to [n].
        instruction: one sentence on what relevant means here.
        form: the answer's format.
        think: whether to ask for reasoning before the answer.
        template: the prompt template; None for the package's own.
        cut: the maximum characters of a passage that are shown; None for the template's.
    """
    template = template or Template.default()
    cut = template.cut if cut is None else cut
    task = fill(template.instruction, instruction=sanitize(instruction)) if instruction else ""
    common = {"query": sanitize(query), "n": len(passages)}
    closing = f"{template.think if think else template.direct}\n{getattr(template, form)}"

    turns: list[Message] = []
    if template.system:
        turns.append({"role": "system", "content": fill(template.system, **common)})
    opening = fill(template.opening, **common, instruction=task)
    turns += _exchange(opening, template.opening_reply)
    contents = [_content(passage, template) for passage in passages]
    shown = [truncate(text, cut, template.cut_at) for text in contents]
    safe = [sanitize(text) for text in shown]
    for number, text in enumerate(safe, 1):
        turn = fill(template.passage, **common, number=number, text=text)
        turns += _exchange(turn, fill(template.passage_reply, number=number))
    turns.append({"role": "user", "content": fill(closing, **common)})
    ids = [passage.id for passage in passages]
    faults = prompt_faults(ids, contents, shown, safe, cut, query, instruction)
    return Prompt(tuple(turns), faults)


def shown_text(passage: Passage, cut: int, template: Template | None = None) -> str:
    """What of a passage a prompt of the template shows, before it is sanitized."""
    template = template or Template.default()
    return truncate(_content(passage, template), cut, template.cut_at)


def _content(passage: Passage, template: Template) -> str:
    """A whole passage as the template writes it."""
    titled = passage.title.strip()
    text = fill(template.titled, title=passage.title, text=passage.text) if titled else passage.text
    return " ".join(text.split()) if template.spaces == "joined" else text.strip()


def truncate(text: str, cut: int, at: str = "word") -> str:
    """At most the first `cut` characters of a text, up to the end of a word or a character."""
    head = text[:cut]
    inside_word = at == "word" and len(text) > cut and re.search(r"\s", head)
    return head.rsplit(maxsplit=1)[0] if inside_word else head


def prompt_faults(
    ids: Sequence[str],
    contents: Sequence[str],
    shown: Sequence[str],
    safe: Sequence[str],
    cut: int,
    *others: str,
) -> tuple[Fault, ...]:
    """What was cut off the passages, and what was neutralised in them or in other texts.

    Args:
        ids: of the prompt's passages.
        contents: the passages, whole.
        shown: what `truncate` gives of each.
        safe: the same sanitized, or neutralised.
        cut: the characters that are shown at most.
        others: a query, an instruction.
    """
    faults = []
    if truncated := _changed(ids, contents, shown):
        detail = f"only the first {cut} characters were shown; split longer passages to show all"
        faults.append(Fault("cut", truncated, detail))
    neutral = [
        text if text == kept else neutralise(text) for text, kept in zip(shown, safe, strict=True)
    ]
    neutralised = _changed(ids, shown, neutral)
    if neutralised or any(neutralise(text) != text for text in others):
        faults.append(Fault("neutralised", neutralised, _NEUTRALISED))
    return tuple(faults)


def _exchange(user: str, assistant: str) -> list[Message]:
    return [{"role": "user", "content": user}, {"role": "assistant", "content": assistant}]


def _changed(ids: Sequence[str], before: Sequence[str], after: Sequence[str]) -> tuple[str, ...]:
    """The ids of the passages whose text differs."""
    changes = zip(ids, before, after, strict=True)
    return tuple(one for one, old, new in changes if old != new)


def reask_prompt(
    messages: Sequence[Message],
    reply: str,
    form: Format = "order",
    template: Template | None = None,
) -> tuple[Message, ...]:
    """The messages that ask again, for the answer alone, after a reply that held none."""
    template = template or Template.default()
    answered: Message = {"role": "assistant", "content": without_tags(reply) or "..."}
    last: Message = {"role": "user", "content": f"{template.again}\n{getattr(template, form)}"}
    return (*messages, answered, last)
