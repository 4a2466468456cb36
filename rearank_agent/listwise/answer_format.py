"""The form of a reply: its tags and identifiers, as they are asked for, written and continued."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Literal

from rearank_agent.listwise.sanitize import sanitize_reply

__all__ = [
    "BEST_SCORE", "FORMAT_VERSION", "TAG", "Format", "answer_prefix", "answer_regex",
    "join_thought", "without_tags", "write_reply",
]  # fmt: skip

FORMAT_VERSION = 1
"""Of the form of messages and answers; part of a policy's fingerprint."""

BEST_SCORE = 10.0
"""Where scores are asked for; the worst is 0."""

Format = Literal["order", "scores"]

TAG = re.compile(r"<(/?)(think|answer)\s*>", re.IGNORECASE)


def write_reply(
    order: Iterable[int], thought: str = "", scores: Sequence[float] | None = None
) -> str:
    """A whole reply in the form we ask for; `read` takes it back.

    Args:
        order: positions from 0, best first.
        thought: put in front inside its tags; none gives a direct answer.
        scores: one per position, 0 to 10; given, the answer says them instead of the order.
    """
    if scores is None:
        answer = " > ".join(f"[{position + 1}]" for position in order)
    else:
        answer = ", ".join(f"[{position + 1}] {scores[position]:g}" for position in order)
    head = f"<think>\n{thought}\n</think>\n" if thought else ""
    return f"{head}<answer>{answer}</answer>"


def answer_regex(n: int, form: Format = "order") -> str:
    """A regular expression of the rest of an answer: n identifiers of the window, and its end."""
    one = rf"\[({'|'.join(str(number) for number in range(1, n + 1))})\]"
    one, between = (one, " > ") if form == "order" else (f"{one} (10|[0-9])", ", ")
    return f"{one}({between}{one}){{{n - 1}}}</answer>"


def answer_prefix(reply: str) -> str:
    """The reply as a closed thought with an answer begun: what a server is to go on from.

    Two line ends follow the thought, as the chat templates of thinking models write it.
    """
    thought = without_tags(reply)
    return f"<think>\n{thought}\n</think>\n\n<answer>" if thought else "<answer>"


def join_thought(thought: str, answer: str, *, ended: bool = True) -> str:
    """A reply as one text, when its thought came apart from it.

    Args:
        thought: without a thought the answer is the reply.
        answer: what came beside it.
        ended: whether the thought came to its end; one that did not is no answer.
    """
    if not thought:
        return answer
    end = "\n</think>\n" if ended else ""
    return f"<think>\n{without_tags(thought)}{end}{answer}"


def without_tags(said: str) -> str:
    """What a model said, without tags and control tokens: it goes into a prompt again."""
    return sanitize_reply(TAG.sub("", said)).strip()
