"""Documents split into chunks of 80 to 200 words.

Between paragraphs where that gives 80 to 200 words, else between sentences (prose) or lines
(code), else between words. Chunks are verbatim slices: nothing but blank space is left out.
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
    "headings", "line_starts",
]  # fmt: skip

MIN_WORDS, MAX_WORDS = 80, 200
_MAX_PART = MAX_WORDS - MIN_WORDS  # so that a chunk below MIN_WORDS has room for one more part

# Also counts text without words: two letters of a script without spaces count as one word,
# a longer run of letters (a URL, minified code) or of blanks as one every 20.
_UNIT = re.compile(rf"[{UNSPACED_SCRIPTS}]{{1,2}}|[^\s{UNSPACED_SCRIPTS}]{{1,20}}|\s{{20}}")
_NUMBER_SIGNS = re.compile(r" {0,3}(#{1,6})\s+(\S.*)")
_UNDERLINE = re.compile(r"(?:={3,}|-{3,}|~{3,}|\^{3,})\s*")
_FENCE = re.compile(r" {0,3}(```+|~~~+)")

_Splitter = Callable[[str, int, int], Iterator[int]]


@dataclass(frozen=True, slots=True)
class Chunk:
    """A slice of a document, not yet a passage.

    Attributes:
        start: its first line, from 1.
        end: its last line, inclusive.
        part: from 1; counts chunks that share both lines.
        title: the headings above it, outermost first; may be empty.
        meta: JSON values, such as the id of a row.
    """

    text: str
    start: int
    end: int
    part: int = 1
    title: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading: level 1 is the outermost; `lines` includes an underline."""

    level: int
    title: str
    lines: int = 1


@dataclass(frozen=True, slots=True)
class Document:
    """The text of a file, to be split.

    Attributes:
        text: lines joined by newlines.
        numbers: for each line of the text, its number in the file.
        headings: by position of the line in the text.
        prose: whether to split at sentences; otherwise at lines.
    """

    text: str
    numbers: Sequence[int]
    headings: Mapping[int, Heading] = field(default_factory=dict)
    prose: bool = True


def count_words(text: str, start: int = 0, end: int | None = None) -> int:
    """The number of words from `start` to `end`, in any script."""
    return sum(1 for _ in _UNIT.finditer(text, start, len(text) if end is None else end))


def headings(text: str) -> dict[int, Heading]:
    """The headings of Markdown and reStructuredText: `# One`, or an underlined line."""
    found: dict[int, Heading] = {}
    fence = before = last = ""
    for at, line in enumerate(text.split("\n")):
        mark = _FENCE.match(line)
        if fence:
            fence = "" if mark and mark[1].startswith(fence) else fence
        elif at and _UNDERLINE.fullmatch(line) and _is_title(before, last, line):
            found[at - 1] = Heading("=-".find(line[0]) % 3 + 1, last.strip(), lines=2)
        elif mark:
            fence = mark[1]
        elif signs := _NUMBER_SIGNS.fullmatch(line):
            title = signs[2].rstrip()
            bare = title.rstrip("#")
            found[at] = Heading(len(signs[1]), bare.rstrip() if bare[-1:].isspace() else title)
        before, last = last, line
    return found


def _is_title(before: str, line: str, under: str) -> bool:
    """Whether a line over an underline is a paragraph of its own, and so a heading."""
    over = not before.strip() or (under[0] == "=" and before == under)
    return over and any(map(str.isalnum, line)) and not _NUMBER_SIGNS.fullmatch(line)


def chunk_document(document: Document) -> tuple[Chunk, ...]:
    """The chunks in order: 80 to 200 words each, except the last of a document."""
    text, lines = document.text, line_starts(document.text)
    titles = _titles(document.headings)
    chunks: list[Chunk] = []
    for start, end in pairwise([0, *_ends(document)]):
        slice_ = text[start:end]
        if not (body := slice_.strip()):
            continue
        first = start + slice_.index(body)
        last = first + len(body)
        # leave out blank lines above, keep the indentation of the first line
        margin = text.rfind("\n", max(start - 1, 0), first) + 1
        verbatim = text[first if start and not margin else margin : last]
        top, bottom = bisect_right(lines, first) - 1, bisect_right(lines, last - 1) - 1
        where = document.numbers[top], document.numbers[bottom]
        same = chunks and (chunks[-1].start, chunks[-1].end) == where
        part = chunks[-1].part + 1 if same else 1
        chunks.append(Chunk(verbatim, *where, part, titles(top)))
    return tuple(chunks)


def line_starts(text: str) -> array[int]:
    """The offset of each line of a text."""
    starts = array("Q", [0])
    starts.extend(newline.end() for newline in re.finditer("\n", text))
    return starts


def _titles(headings: Mapping[int, Heading]) -> Callable[[int], str]:
    """The headings above a line; a heading is not above itself, since the chunk has its text."""
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


def _ends(document: Document) -> Iterator[int]:
    """The offset at which each chunk ends: greedy, whole paragraphs while they fit."""
    prose = (_at_sentences, _at_lines, _at_words)
    splitters = prose if document.prose else prose[1:]
    ends: list[tuple[int, int]] = []
    held = end = 0
    for start, stop, body in _paragraphs(document):
        words = count_words(document.text, start, stop)
        if held + words <= MAX_WORDS:
            parts, share = iter([(stop, words)]), float(MIN_WORDS)
        else:
            share = (held + words) / math.ceil((held + words) / MAX_WORDS)
            parts = _parts(document.text, start, stop, body, splitters)
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
    return iter([*(end for end, _ in ends), len(document.text)])


def _paragraphs(document: Document) -> Iterator[tuple[int, int, int]]:
    """The start, the end and the first offset below the headings of each paragraph.

    Together they cover the text: a paragraph includes the headings above it and the blank
    space after it.
    """
    start, body, blank, underlines, offset = 0, -1, True, 0, 0
    for at, line in enumerate(document.text.split("\n")):
        heading = document.headings.get(at)
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
    yield start, len(document.text), body if body >= 0 else len(document.text)


def _parts(
    text: str, start: int, stop: int, body: int, splitters: Sequence[_Splitter]
) -> Iterator[tuple[int, int]]:
    """The end and the words of each part between `start` and `stop`, at most `_MAX_PART` each.

    No part ends above `body`, so that a heading stays with what follows, unless the headings
    alone are too long.
    """
    words = count_words(text, start, stop)
    if words <= _MAX_PART or not splitters:
        yield stop, words
        return
    splitter, *finer = splitters
    cuts = [at for at in splitter(text, start, stop) if at > body or (not finer and at > start)]
    for begin, end in pairwise([start, *cuts, stop]):
        yield from _parts(text, begin, end, body, finer)


def _at_sentences(text: str, start: int, stop: int) -> Iterator[int]:
    # a line break inside a sentence does not end it
    wrapped = text[start:stop].replace("\n", " ")
    return (start + sentence.start for sentence in islice(sentences(wrapped), 1, None))


def _at_lines(text: str, start: int, stop: int) -> Iterator[int]:
    return (newline.end() for newline in re.compile("\n").finditer(text, start, stop - 1))


def _at_words(text: str, start: int, stop: int) -> Iterator[int]:
    units = _UNIT.finditer(text, start, stop)
    return (unit.start() for unit in islice(units, _MAX_PART, None, _MAX_PART))
