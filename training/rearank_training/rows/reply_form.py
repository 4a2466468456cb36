"""The form of a reply: whether it has the tags that were asked for, and a complete list."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from rearank_agent.listwise import parse_reply

__all__ = ["Thought", "is_complete", "is_tagged"]

Thought = Literal["written", "opened", "none"]
"""What is asked of a reply: a thought in its tags, the rest of one that the chat template has
opened, or the answer alone."""

_TAG = re.compile(r"<(/?(?:think|answer))\s*>", re.IGNORECASE)
_TAGS: Mapping[str, list[str]] = {
    "written": ["think", "/think", "answer", "/answer"],
    "opened": ["/think", "answer", "/answer"],
    "none": ["answer", "/answer"],
}


def is_tagged(reply: str, thought: Thought) -> bool:
    """Whether it has these tags, each once and in this order."""
    return [tag.lower() for tag in _TAG.findall(reply)] == _TAGS[thought]


def is_complete(reply: str, n: int) -> bool:
    """Whether its answer names each of n passages once, and nothing else."""
    parsed = parse_reply(reply, n)
    return parsed.readable and not parsed.faults
