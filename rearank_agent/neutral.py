"""Foreign text, shown so that it cannot steer the prompt it stands in."""

from __future__ import annotations

import re

__all__ = ["neutral"]

_TAG_LIKE = re.compile(r"<([^<>\s]{1,64})>")
_BRACKETED = re.compile(
    r"[\[［【]\s*(\d+|/?[A-Z][A-Z_]+|gMASK|\|/?[a-z]+\|)\s*[\]］】]|\[(e~)\[|\](~!?b)[\[\]]"
)


def neutral(text: str) -> str:
    """The text with other brackets around whatever could steer the prompt.

    That is: chat-template control tokens and our own tags (anything like `<word>`), the
    bracketed ones (`[INST]`, `[|user|]`, `]~b]`), and bracketed numbers, which would pass for
    identifiers.
    """
    return _BRACKETED.sub(r"(\1\2\3)", _TAG_LIKE.sub(r"‹\1›", text))
