"""Documents split into chunks of 100 to 250 tokens of the shipped encoder, title included.

So a chunk is read to its end. Between paragraphs where that gives as many tokens, else between
sentences (prose) or lines (code), else between words. Chunks are verbatim slices: nothing but
blank space is left out.
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

from rearank_agent.policies.embedded.token_count import READ_TOKENS, count_tokens, token_steps
from rearank_agent.search.titles import MAX_TITLE, Heading, Titles, headings_above
from rearank_agent.text import sentences
from rearank_agent.types import Passage

__all__ = ["MIN_TOKENS", "Chunk", "Document", "chunk_document", "line_starts"]

MIN_TOKENS = 100
_MAX_PART = READ_TOKENS - MAX_TITLE - MIN_TOKENS  # a chunk below MIN_TOKENS has room for one more

_BLANK = re.compile(r"\s*")
_Splitter = Callable[[str, int, int], Iterator[int]]


@dataclass(frozen=True, slots=True)
class Chunk:
    """A slice of a document, not yet a passage.

    Attributes:
        start: its first line, from 1; or page of a PDF, or cell of a notebook.
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

    @property
    def content(self) -> str:
        """Title and text, as a policy reads them."""
        return Passage("", self.text, self.title).content


@dataclass(frozen=True, slots=True)
class Document:
    """The text of a file, to be split.

    Attributes:
        text: lines joined by newlines.
        numbers: for each line of the text, its number in the file; or that of its page or cell.
        headings: by position of the line in the text.
        prose: whether to split at sentences; otherwise at lines.
        above: what stands above a line; by default the headings.
        spans: the offsets of each chunk with what is shown above it, if it was split before.
    """

    text: str
    numbers: Sequence[int]
    headings: Mapping[int, Heading] = field(default_factory=dict)
    prose: bool = True
    above: Titles | None = None
    spans: Sequence[tuple[int, int]] = ()


def chunk_document(document: Document) -> tuple[Chunk, ...]:
    """The chunks in order: 100 to 250 tokens each, except the last of a document."""
    text, lines = document.text, line_starts(document.text)
    titles = document.above or headings_above(document.headings)

    first = 0

    def room(start: int) -> int:
        nonlocal first
        if start >= first:  # blank space is looked through once, however many chunks it fills
            first = _BLANK.match(text, start).end()  # type: ignore[union-attr]
        return READ_TOKENS - count_tokens(titles(bisect_right(lines, first) - 1))

    chunks: list[Chunk] = []
    for start, end in pairwise([0, *_ends(document, room)]):
        slice_ = text[start:end]
        if not (body := slice_.strip()):
            continue
        begin = start + slice_.index(body)
        last = begin + len(body)
        # leave out blank lines above, keep the indentation of the first line
        margin = text.rfind("\n", max(start - 1, 0), begin) + 1
        verbatim = text[begin if start and not margin else margin : last]
        top, bottom = bisect_right(lines, begin) - 1, bisect_right(lines, last - 1) - 1
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


def _ends(document: Document, room: Callable[[int], int]) -> Iterator[int]:
    """The offset at which each chunk ends: greedy, whole paragraphs while they fit.

    Args:
        room: the tokens of a chunk that starts at an offset.
    """
    prose = (_at_sentences, _at_lines, _at_words)
    splitters = prose if document.prose else prose[1:]
    ends: list[tuple[int, int, int]] = []
    held, end, most = 0, 0, room(0)

    def close() -> None:
        nonlocal held, most
        ends.append((end, held, most))
        held, most = 0, room(end)

    for start, stop, body in _paragraphs(document):
        tokens = count_tokens(document.text, start, stop)
        if held + tokens <= most:
            parts, share = iter([(stop, tokens)]), float(MIN_TOKENS)
        else:
            share = (held + tokens) / math.ceil((held + tokens) / most)
            parts = _parts(document.text, start, stop, body, splitters)
        for after, tokens in parts:
            if held + tokens > most:
                close()
            held, end = held + tokens, after
            if held >= share:
                close()
        if held >= MIN_TOKENS:
            close()
    if held and ends and ends[-1][1] + held <= ends[-1][2]:
        ends.pop()
    return iter([*(end for end, _, _ in ends), len(document.text)])


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
    """The end and the tokens of each part between `start` and `stop`, at most `_MAX_PART` each.

    No part ends above `body`, so that a heading stays with what follows, unless the headings
    alone are too long.
    """
    tokens = count_tokens(text, start, stop)
    if tokens <= _MAX_PART or not splitters:
        yield stop, tokens
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
    return token_steps(text, start, stop, _MAX_PART)
