"""Complete chains of identifiers in a text: every passage of a window once.

Models write an order in bold, in a code fence, after a sentence, one identifier a line, or by other
names than those they were given. What counts is that all n identifiers are there, each once.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from rearank_agent.listwise.scores import Scored

__all__ = ["complete_chains", "is_chain", "is_set_apart", "other_names"]

_IDENTIFIER = re.compile(r"\[\s*([0-9]{1,6})\s*\]")
# Between two identifiers of a chain: no word, no number but that of a list's next line.
_GAP = re.compile(r"(?:[^\w\[\]]|_|&gt;)*?(?:\n[^\w\[\]]*[0-9]{1,4}[.):][^\w\[\]]*)?")
_LONGEST_GAP = 40  # characters
_MARKS = re.compile(r"[\s*_`#>.,:;|=\-]*")
_INTRODUCTION = re.compile(
    r"[\s*_`#>|\-]*"
    r"(?:[^\d{}<>‹›\"\[\]]{0,200}(?::|\b(?:is|are|be|as|order|ranking|ranked))[\s*_`\-]*)?"
    r"(?:1[.):]\s*)?[\s*_`]*",
    re.IGNORECASE,
)
_ERROR = re.compile(
    r"^\s*[{<]|\b(?:error|exception|traceback|too many requests|rate limit|http)\b", re.IGNORECASE
)
# Other names of a passage inside an answer: `Passage 3`, (3), "3", 3.
_NOUN = re.compile(
    r"\b(?:passages?|documents?|docs?|candidates?|texts?|items?|id)\b", re.IGNORECASE
)
_NUMBER = re.compile(r"[0-9]+")
_LIST_NUMBER = re.compile(r"^\s*[0-9]+[.):]\s+(?=\S)", re.MULTILINE)
_DIGITS = 6


class Chain(NamedTuple):
    """All n passages as positions from 0, best first, and where the chain is in the text."""

    order: tuple[int, ...]
    start: int
    end: int


def complete_chains(text: str, n: int) -> list[Chain]:
    """The chains of n bracketed identifiers, in the order of the text."""
    found: list[Chain] = []
    chain: list[int] = []
    start = end = 0
    for one in _IDENTIFIER.finditer(text):
        position = int(one[1]) - 1
        if position in chain or not 0 <= position < n or not _joins(text, end, one.start()):
            chain = []
        if 0 <= position < n:
            start = start if chain else one.start()
            chain.append(position)
        end = one.end()
        if len(chain) == n:
            found.append(Chain(tuple(chain), start, end))
            chain = []
    return found


def is_chain(text: str, scored: Sequence[Scored], n: int) -> bool:
    """Whether scored identifiers name all n passages once, with nothing but marks between them."""
    numbers = sorted(one.number for one in scored)
    return numbers == list(range(1, n + 1)) and all(
        _joins(text, one.end, after.start) for one, after in pairwise(scored)
    )


def _joins(text: str, start: int, end: int) -> bool:
    return end - start <= _LONGEST_GAP and _GAP.fullmatch(text, start, end) is not None


def is_set_apart(text: str, start: int, end: int) -> bool:
    """Whether a chain is an answer of its own, and no part of a sentence or of an error.

    On its lines there is nothing but marks, or an introduction before it: `Final ranking:`.
    """
    if _ERROR.search(text, 0, start) or _ERROR.search(text, end):
        return False
    before = text[text.rfind("\n", 0, start) + 1 : start]
    line_end = text.find("\n", end)
    after = text[end : len(text) if line_end < 0 else line_end]
    return bool(_MARKS.fullmatch(after) and _INTRODUCTION.fullmatch(before))


def other_names(answer: str, n: int) -> tuple[int, ...] | None:
    """The order in an answer that names passages in another way; None unless it names all of them.

    Bare numbers, a JSON list, `Passage 3`, other brackets: the answer may hold nothing else.
    """
    if len(answer) > _LONGEST_GAP * (n + 1):
        return None
    bare = _NOUN.sub(" ", answer)
    if any(map(str.isalpha, bare)):
        return None
    for said in (bare, _LIST_NUMBER.sub("", bare)):
        numbers = [int(number) - 1 for number in _NUMBER.findall(said) if len(number) <= _DIGITS]
        if sorted(numbers) == list(range(n)):
            return tuple(numbers)
    return None
