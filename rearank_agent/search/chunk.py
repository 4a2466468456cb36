"""A page cut into passages where its author paused.

Between paragraphs if that gives 80 to 200 words, else between sentences (prose) or lines
(code), else between words. Passages are verbatim slices: nothing but blank space is left out.
"""

from __future__ import annotations

import math
import re
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, pairwise
from typing import Any

from rearank_agent.text import UNSPACED_SCRIPTS, sentences

__all__ = [
    "MAX_WORDS", "MIN_WORDS", "Chunk", "Document", "Heading", "chunk_document", "count_words",
    "headings",
]  # fmt: skip

MIN_WORDS, MAX_WORDS = 80, 200
_ATOM = MAX_WORDS - MIN_WORDS  # so that what is still too small can always take one atom more

# Also a measure for what has no words: two letters of a script without spaces count as one,
# a longer run of letters (a URL, minified code) or of blanks counts once every 20.
_UNIT = re.compile(rf"[{UNSPACED_SCRIPTS}]{{1,2}}|[^\s{UNSPACED_SCRIPTS}]{{1,20}}|\s{{20}}")
_NUMBER_SIGNS = re.compile(r" {0,3}(#{1,6})\s+(\S.*)")
_UNDERLINE = re.compile(r"(?:={3,}|-{3,}|~{3,}|\^{3,})\s*")
_FENCE = re.compile(r" {0,3}(```+|~~~+)")

_Cutter = Callable[[str, int, int], Iterator[int]]


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage before it has a place.

    Attributes:
        start: its first line, from 1.
        end: its last line, inclusive.
        part: from 1; counts pieces that share both lines.
        title: the headings above it, outermost first; may be empty.
        meta: the caller's own.
    """

    text: str
    start: int
    end: int
    part: int = 1
    title: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Heading:
    """A title over what follows: level 1 is the outermost; `lines` includes an underline."""

    level: int
    title: str
    lines: int = 1


@dataclass(frozen=True, slots=True)
class Document:
    """What is cut.

    Attributes:
        text: lines joined by newlines.
        numbers: for each line of the text, its number in the file.
        headings: by position of the line in the text.
        prose: whether sentences are its parts; otherwise lines are.
    """

    text: str
    numbers: Sequence[int]
    headings: Mapping[int, Heading] = field(default_factory=dict)
    prose: bool = True


def count_words(text: str, start: int = 0, end: int | None = None) -> int:
    """How many words there are from `start` to `end`, in any script."""
    return sum(1 for _ in _UNIT.finditer(text, start, len(text) if end is None else end))


def headings(text: str) -> dict[int, Heading]:
    """The headings of Markdown and its kin: `# One`, or a line of its own underlined."""
    found: dict[int, Heading] = {}
    fence = before = last = ""
    for at, line in enumerate(text.split("\n")):
        mark = _FENCE.match(line)
        if fence:
            fence = "" if mark and mark[1].startswith(fence) else fence
        elif at and _UNDERLINE.fullmatch(line) and _alone(before, last, line):
            found[at - 1] = Heading("=-".find(line[0]) % 3 + 1, last.strip(), lines=2)
        elif mark:
            fence = mark[1]
        elif signs := _NUMBER_SIGNS.fullmatch(line):
            title = signs[2].rstrip()
            bare = title.rstrip("#")
            found[at] = Heading(len(signs[1]), bare.rstrip() if bare[-1:].isspace() else title)
        before, last = last, line
    return found


def _alone(before: str, line: str, under: str) -> bool:
    """Whether a line over an underline is a paragraph of its own, so a heading."""
    over = not before.strip() or (under[0] == "=" and before == under)
    return over and any(map(str.isalnum, line)) and not _NUMBER_SIGNS.fullmatch(line)


def chunk_document(page: Document) -> tuple[Chunk, ...]:
    """The pieces of a page in order: 80 to 200 words each, but for the last of a short page."""
    text, lines = page.text, _lines(page.text)
    titles = _titles(page.headings)
    pieces: list[Chunk] = []
    for start, end in pairwise([0, *_ends(page)]):
        slice_ = text[start:end]
        if not (body := slice_.strip()):
            continue
        first = start + slice_.index(body)
        last = first + len(body)
        # blank lines above are no part of it, the indentation of its first line is
        margin = text.rfind("\n", max(start - 1, 0), first) + 1
        verbatim = text[first if start and not margin else margin : last]
        top, bottom = bisect_right(lines, first) - 1, bisect_right(lines, last - 1) - 1
        where = page.numbers[top], page.numbers[bottom]
        same = pieces and (pieces[-1].start, pieces[-1].end) == where
        part = pieces[-1].part + 1 if same else 1
        pieces.append(Chunk(verbatim, *where, part, titles(top)))
    return tuple(pieces)


def _lines(text: str) -> array[int]:
    """Where each line starts."""
    starts = array("Q", [0])
    starts.extend(newline.end() for newline in re.finditer("\n", text))
    return starts


def _titles(headings: Mapping[int, Heading]) -> Callable[[int], str]:
    """The headings over a line, but for one it is itself: that stands in the text already."""
    positions = sorted(headings)
    trails: list[tuple[str, str]] = []
    outer: list[Heading] = []
    for at in positions:
        outer = [heading for heading in outer if heading.level < headings[at].level]
        above = " > ".join(heading.title for heading in outer)
        outer.append(headings[at])
        trails.append((above, " > ".join(heading.title for heading in outer)))

    def over(line: int) -> str:
        passed = bisect_right(positions, line)
        return trails[passed - 1][line not in headings] if passed else ""

    return over


def _ends(page: Document) -> Iterator[int]:
    """Where each piece ends: greedy, in whole paragraphs while they fit."""
    cutters = (_at_sentences, _at_lines, _at_words) if page.prose else (_at_lines, _at_words)
    ends: list[tuple[int, int]] = []
    held = end = 0
    for start, stop, body in _paragraphs(page):
        words = count_words(page.text, start, stop)
        if held + words <= MAX_WORDS:
            parts, share = iter([(stop, words)]), float(MIN_WORDS)
        else:
            share = (held + words) / math.ceil((held + words) / MAX_WORDS)
            parts = _parts(page.text, start, stop, body, cutters)
        for after, words in parts:
            if held + words > MAX_WORDS:
                ends.append((end, held))
                held = 0
            held, end = held + words, after
            if held >= share:
                ends.append((end, held))
                held = 0
        if held >= MIN_WORDS:
            ends.append((end, held))
            held = 0
    if held and ends and ends[-1][1] + held <= MAX_WORDS:
        ends.pop()
    return iter([*(end for end, _ in ends), len(page.text)])


def _paragraphs(page: Document) -> Iterator[tuple[int, int, int]]:
    """Start, end, and the first character below its headings, of each paragraph.

    Together they are the whole text: a paragraph includes the blank space after it. The
    headings above a paragraph belong to it.
    """
    start, body, blank, underlines, offset = 0, -1, True, 0, 0
    for at, line in enumerate(page.text.split("\n")):
        heading = page.headings.get(at)
        if not line or line.isspace():
            blank = True
        elif underlines:
            underlines -= 1
        else:
            if body >= 0 and (blank or heading):
                yield start, offset, body
                start, body = offset, -1
            if heading:
                underlines = heading.lines - 1
            elif body < 0:
                body = offset
            blank = False
        offset += len(line) + 1
    yield start, len(page.text), body if body >= 0 else len(page.text)


def _parts(
    text: str, start: int, stop: int, body: int, cutters: Sequence[_Cutter]
) -> Iterator[tuple[int, int]]:
    """The end and size of each part between `start` and `stop`; none larger than an atom.

    No part ends above `body`, so that a heading stays with what follows, unless the headings
    alone are too long.
    """
    words = count_words(text, start, stop)
    if words <= _ATOM or not cutters:
        yield stop, words
        return
    cutter, *finer = cutters
    cuts = [at for at in cutter(text, start, stop) if at > body or (not finer and at > start)]
    for begin, end in pairwise([start, *cuts, stop]):
        yield from _parts(text, begin, end, body, finer)


def _at_sentences(text: str, start: int, stop: int) -> Iterator[int]:
    # a line end inside a sentence is no end of it
    wrapped = text[start:stop].replace("\n", " ")
    return (start + sentence.start for sentence in islice(sentences(wrapped), 1, None))


def _at_lines(text: str, start: int, stop: int) -> Iterator[int]:
    return (newline.end() for newline in re.compile("\n").finditer(text, start, stop - 1))


def _at_words(text: str, start: int, stop: int) -> Iterator[int]:
    units = _UNIT.finditer(text, start, stop)
    return (unit.start() for unit in islice(units, _ATOM, None, _ATOM))
