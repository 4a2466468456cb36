"""The format of a reply: its tags and identifiers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Literal

from rearank_agent.listwise.sanitize import neutralise

__all__ = [
    "BEST_SCORE", "FORMAT_VERSION", "TAG", "Format", "answer_prefix", "answer_regex",
    "join_reasoning", "without_tags", "write_reply",
]  # fmt: skip

FORMAT_VERSION = 1
"""Version of the message and answer format; part of a policy's fingerprint."""

BEST_SCORE = 10.0
"""The highest score where scores are asked for; the lowest is 0."""

Format = Literal["order", "scores"]

TAG = re.compile(r"<(/?)(think(?:ing)?|answer)\s*>", re.IGNORECASE)


def write_reply(
    order: Iterable[int], reasoning: str = "", scores: Sequence[float] | None = None
) -> str:
    """A complete reply in our format; `parse_reply` reads it.

    Args:
        order: positions from 0, best first.
        reasoning: put in front, inside its tags; without it the answer is direct.
        scores: one per position, 0 to 10; given, the answer holds them instead of the order.
    """
    if scores is None:
        answer = " > ".join(f"[{position + 1}]" for position in order)
    else:
        answer = ", ".join(f"[{position + 1}] {scores[position]:g}" for position in order)
    head = f"<think>\n{reasoning}\n</think>\n" if reasoning else ""
    return f"{head}<answer>{answer}</answer>"


def answer_regex(n: int, form: Format = "order") -> str:
    """A regular expression for the rest of an answer: n identifiers and the closing tag."""
    one = rf"\[({'|'.join(str(number) for number in range(1, n + 1))})\]"
    one, between = (one, " > ") if form == "order" else (f"{one} (10|[0-9])", ", ")
    return f"{one}({between}{one}){{{n - 1}}}</answer>"


def answer_prefix(reply: str) -> str:
    """The reply's reasoning, closed, and an opened answer: the prefix a server continues.

    Two line ends follow the reasoning, as the chat templates of thinking models write it.
    """
    reasoning = without_tags(reply)
    return f"<think>\n{reasoning}\n</think>\n\n<answer>" if reasoning else "<answer>"


def join_reasoning(reasoning: str, answer: str, *, ended: bool = True) -> str:
    """A reply as one text, when its reasoning came separately.

    Args:
        reasoning: where it is empty the answer is the reply.
        answer: the text that came with it.
        ended: whether the reasoning is complete; if not, the reply holds no answer.
    """
    if not reasoning:
        return answer
    end = "\n</think>\n" if ended else ""
    return f"<think>\n{without_tags(reasoning)}{end}{answer}"


def without_tags(text: str) -> str:
    """A model's text without tags and control tokens, to go into a prompt again."""
    return neutralise(TAG.sub("", text)).strip()
