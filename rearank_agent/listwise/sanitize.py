"""Sanitizing untrusted text, so that it cannot steer the prompt it is put in.

Shapes are looked for in a view of the text, as a reader takes it: compatibility forms folded,
without what cannot be seen. The text itself is changed where the view has a shape, bracket by
bracket, so that no change can complete another shape.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from unicodedata import category, normalize, numeric

__all__ = ["neutralise", "sanitize"]

# Characters that cannot be seen, and yet are read by a model: tags, changes of direction, and
# variation selectors in a row, each of which can hold a byte. One selector is part of an emoji or
# an ideograph, tags are part of the flag of a region.
_STRONG = "\U000e0000-\U000e007f\u202a-\u202e\u2066-\u2069"
_SELECTORS = "\ufe00-\ufe0f\U000e0100-\U000e01ef"
_FLAG = "\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{3,6}\U000e007f"
_HIDDEN = re.compile(f"({_FLAG})|[{_STRONG}{_SELECTORS}]{{2,}}|[{_STRONG}]")

# The brackets of the view, and all that pass for them. Full-width angle brackets and others
# that look alike are kept apart, since they also enclose headings and titles of books.
_ALIKE = {
    "[": "[［﹇【〖〔〘〚⟦⟬❲⦋⦍⦏⦗⁅︗︻︹",
    "]": "]］﹈】〗〕〙〛⟧⟭❳⦌⦎⦐⦘⁆︘︼︺",
    "<": "<",
    ">": ">",
    "＜": "＜﹤",
    "＞": "＞﹥",
    "〈": "〈〈⟨❬❮❰⟪《︿︽⦑⧼˂ᐸ",
    "〉": "〉〉⟩❭❯❱⟫》﹀︾⦒⧽˃ᐳ",
}
_BRACKETS = {one: bracket for bracket, alike in _ALIKE.items() for one in alike}
_SUSPECT = re.compile(f"[{re.escape(''.join(_BRACKETS))}{_STRONG}{_SELECTORS}]")
_ANGLES = {"<": "‹", "＜": "‹", "〈": "‹", ">": "›", "＞": "›", "〉": "›"}
_ROUND = {"[": "(", "]": ")"}

_FILLERS = "\u115f\u1160\u3164\uffa0"  # letters by their category, though nothing is shown
_UNSEEN = ("Cc", "Cf", "Cn", "Me", "Mn")
_NUMERALS = ("Nd", "Nl", "No")

# Tokens in square brackets. Names in capitals; those of other words are known ones, since prose
# and code hold words in brackets. MiniMax's have brackets of their own, the last of which may be
# one of ours that follows.
_NAMED = (
    r"/?[A-Z](?:[A-Z_]|(?<=[_\d])\d)+|[a-z]MASK|\|/?[a-z_]+\||@[A-Z]+@"
    r"|(?:unused|control)_?\d+|(?:start|end)_header_id"
)
_BARE = r"\[e~\[?|\](?:~!?b|![dp]~)[\[\]]?|\]<\][a-z ]{1,32}\[>\[?"
_CONTROL = re.compile(rf"\[\s*(?:{_NAMED})\s*\]|{_BARE}")
_NUMBER = re.compile(r"\[\s*[0-9]+\s*\]")
_CITATION = re.compile(rf"([{re.escape(_ALIKE['['])}])(\s*\d+\s*)([{re.escape(_ALIKE[']'])}])")
# Anything like `<word>`; in other angle brackets what begins as tokens do; in any, and with
# spaces, our own tags and what has bars.
_TAG = re.compile(
    r"<\S{1,132}\s*+[>＞]|＜[!-~]\S{0,131}\s*+[>＞]"
    r"|[<＜〈]\s*+(?:/\s*+)?(?i:think(?:ing)?|answer)\b[^<＜〈>＞〉‹›]{0,64}[>＞〉]"
    r"|[<＜〈]\s*+\|\s*+[^\s|]{1,64}\s*+\|\s*+[>＞〉]"
)
_SHAPES = ((_CONTROL, _ROUND | _ANGLES), (_NUMBER, _ROUND), (_TAG, _ANGLES))
"""Each with the brackets that are put in the place of its own."""


def sanitize(text: str) -> str:
    """The text as `neutralise` gives it, with round brackets around numbers as well.

    In a prompt these would pass for identifiers of passages.
    """
    return text if _is_harmless(text) else _CITATION.sub(r"(\2)", neutralise(text))


def neutralise(text: str) -> str:
    """The text with other brackets around what could steer a prompt, and without hidden text.

    That is: chat-template control tokens and our own tags (anything like `<word>`), the
    bracketed ones (`[INST]`, `[|user|]`, `]~b]`), and bracketed numbers in disguise (`[①]`),
    also where look-alikes or characters that are not seen are in them. Plain bracketed numbers
    stay: they are citations, or a model's own identifiers. A text without any of it is returned
    as it is.
    """
    if _is_harmless(text):
        return text
    text = _HIDDEN.sub(r"\1", text)
    pieces = [text] if text.isascii() and text.isprintable() else [*map(_fold, text)]
    view = "".join(pieces)
    found = [(one, other) for shapes, other in _SHAPES for one in shapes.finditer(view)]
    if not found:
        return text
    at = range(len(view)) if pieces == [text] else _positions(pieces)
    shown = list(text)
    for one, other in found:
        first, last = at[one.start()], at[one.end() - 1]
        if one.re is _NUMBER and _CITATION.fullmatch(text, first, last + 1):
            continue
        for place in range(*one.span()):
            if bracket := other.get(view[place]):
                shown[at[place]] = bracket
    return "".join(shown)


def _is_harmless(text: str) -> bool:
    """Whether nothing of the text could be part of a shape; most texts are, so it is quick."""
    if text.isascii():
        return "[" not in text and "<" not in text and "]" not in text
    return not _SUSPECT.search(text)


def _positions(pieces: Sequence[str]) -> Sequence[int]:
    """For each character of the joined pieces, the number of its piece."""
    return [number for number, piece in enumerate(pieces) for _ in piece]


@lru_cache(maxsize=4096)
def _fold(character: str) -> str:
    """What is read for a character: its compatibility form, digits as such, or nothing."""
    if bracket := _BRACKETS.get(character):
        return bracket
    if character.isspace():
        return character
    plain = normalize("NFKC", character).replace(" ", "")  # accents alone stand on a space
    if len(plain) > 2:  # a word in one character; the limits of shapes count characters
        plain = character
    return "".join(map(_seen, plain))


def _seen(character: str) -> str:
    kind = category(character)
    if kind in _UNSEEN or character in _FILLERS:
        return ""
    if kind in _NUMERALS and (value := numeric(character)) >= 0 and value.is_integer():
        return str(int(value))
    return character
