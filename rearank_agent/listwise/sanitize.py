"""Sanitizing untrusted text, so that it cannot steer the prompt it is put in."""

from __future__ import annotations

import re

__all__ = ["sanitize", "sanitize_reply"]

_BRACKETS = "<[]［【"
_TAG_LIKE = re.compile(r"<\S{1,66}\s*>")
_ANGLES = str.maketrans("<>", "‹›")
_ZERO_WIDTH = r"\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff"  # zero-width characters
_NAMED = r"/?[A-Z][A-Z_]+|[gs]MASK|\|/?[a-z]+\|"
_NUMBER = rf"\d(?:[{_ZERO_WIDTH}]*\d)*"
# MiniMax's tokens; the last bracket may be one of ours that follows.
_BARE = r"\[(e~)\[?|\](~!?b|![dp]~)[\[\]]?|\]<\]([a-z ]{1,32})\[>\[?"
_SHAPE = rf"[\[［【][\s{_ZERO_WIDTH}]*(%s)[\s{_ZERO_WIDTH}]*[\]］】]|{_BARE}"
_CONTROL = re.compile(_SHAPE % _NAMED)
_BRACKETED = re.compile(_SHAPE % f"{_NUMBER}|{_NAMED}")


def sanitize(text: str) -> str:
    """The text with other brackets around whatever could steer the prompt.

    That is: chat-template control tokens and our own tags (anything like `<word>`), the
    bracketed ones (`[INST]`, `[|user|]`, `]~b]`), and bracketed numbers, which would pass for
    identifiers. Other text is unchanged.
    """
    if not any(bracket in text for bracket in _BRACKETS):  # quick, and so are most texts
        return text
    return _tagless(_BRACKETED.sub(r"(\1\2\3\4)", text))


def sanitize_reply(text: str) -> str:
    """The text as `sanitize` gives it, but with its identifiers: for a model's own text."""
    return _tagless(_CONTROL.sub(r"(\1\2\3\4)", text))


def _tagless(text: str) -> str:
    """Replace angle brackets around tags; last, so that no step after it can complete a tag."""
    return _TAG_LIKE.sub(lambda tag: tag[0].translate(_ANGLES), text)
