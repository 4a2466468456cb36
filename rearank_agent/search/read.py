"""Reading on where a search found something: a place as a stretch of its file's text."""

from __future__ import annotations

import asyncio
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rearank_agent.errors import BusyError, InputError
from rearank_agent.search.chunk import Chunk, line_starts
from rearank_agent.search.place import place_of, unit_of
from rearank_agent.types import Passage

if TYPE_CHECKING:
    from rearank_agent.search.extract import Extraction
    from rearank_agent.search.library import Library

__all__ = ["Reading", "locate", "read"]

_STEP = 50  # lines of a place that is named for reading on
_LINES = re.compile(r":p?(\d+)(?:-(\d+))?(?:#(\d+))?")
_MAX_DIGITS = 10
_CHANGED = "the file has changed since the search"

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Reading:
    """A stretch of a file's text, with the text around it.

    Offsets are those of characters in `text`, which is the file's or, for a document, that of its
    conversion.

    Attributes:
        path: the file, as search names it.
        text: all of it, without a newline at its end.
        numbers: for each line of the text, its number in the file; that of its page in a PDF, of
            its cell in a notebook.
        starts: for each line of the text, its offset.
        chunks: the passages that search cut it into, each with its offsets, in order.
        unread: the lines of the file that could not be read, by number.
        start: offset of the first character that was asked for.
        end: offset after the last one.
        notes: what differs from what was asked for.
    """

    path: str
    text: str
    numbers: Sequence[int]
    starts: Sequence[int]
    chunks: tuple[tuple[Chunk, Span], ...]
    unread: tuple[int, ...]
    start: int = 0
    end: int = 0
    notes: tuple[str, ...] = ()

    @property
    def last(self) -> int:
        """The number of the file's last line with text, or a blank one after it."""
        return self.numbers[len(self.starts) - 1]

    @property
    def unit(self) -> str:
        """What `numbers` are those of: lines, or a document's pages or cells."""
        return unit_of(self.path)

    def number(self, offset: int) -> int:
        """The number in the file of the line at an offset."""
        return self.numbers[self._at(offset)]

    def lines(self, start: int, end: int) -> Iterator[tuple[str, int, int]]:
        """The lines from `start` to `end`: number and offsets; "7…" is the rest of line 7."""
        for at in range(self._at(start), self._at(end) + 1):
            begin = max(start, self.starts[at])
            rest = "…" if begin > self.starts[at] else ""
            yield f"{self.numbers[at]}{rest}", begin, min(end, self.line_end(at))

    def widened(self, lines: int) -> Span:
        """The stretch in whole lines, and so many more on each side, as far as there are any."""
        top = max(0, self._at(self.start) - lines)
        last = self._at(self.end)
        return self.starts[top], self.line_end(min(len(self.starts) - 1, last + lines))

    def before(self, start: int) -> str:
        """A place that ends where the text before an offset ends; "" if there is none."""
        if not (above := self.text[:start].rstrip()):
            return ""
        number = self.number(len(above) - 1)
        if number < self.number(start):
            return self._place(max(self.numbers[0], number - self._step + 1), number)
        return self._place_of([chunk for chunk, span in self.chunks if span[0] < start][-1])

    def after(self, end: int) -> str:
        """A place that begins where the text after an offset begins; "" if there is none."""
        if not (below := re.compile(r"\S").search(self.text, end)):
            return ""
        number = self.number(below.start())
        if number > self.number(end):
            return self._place(number, min(self.last, number + self._step - 1))
        return self._place_of(next(chunk for chunk, span in self.chunks if span[1] > end))

    def place(self, start: int, end: int) -> str:
        """Path and lines from one offset to another."""
        return self._place(self.number(start), self.number(end))

    def line_end(self, at: int) -> int:
        """The offset of the end of a line, by its position."""
        return self.starts[at + 1] - 1 if at + 1 < len(self.starts) else len(self.text)

    @property
    def _step(self) -> int:
        return 1 if self.unit == "pages" else _STEP

    def _place(self, first: int, last: int) -> str:
        return place_of(self.path, first, last)

    def _place_of(self, chunk: Chunk) -> str:
        # the first of several in a line has no number in a hit's place; here it tells it apart
        return f"{self._place(chunk.start, chunk.end)}#{chunk.part}"

    def _at(self, offset: int) -> int:
        return bisect_right(self.starts, offset) - 1


async def read(
    library: Library, place: str, hit: Passage | None = None, deadline: float | None = None
) -> Reading:
    """What `locate` finds, on the library's thread.

    Args:
        deadline: seconds for it. Reading goes on in the background after that.

    Raises:
        InputError: as `locate`.
        BusyError: the deadline came first.
    """
    work = asyncio.get_running_loop().run_in_executor(library.worker, locate, library, place, hit)
    try:
        async with asyncio.timeout(deadline):
            return await work
    except TimeoutError:
        raise BusyError("the file is still being read; ask again in a moment") from None


def locate(library: Library, place: str, hit: Passage | None = None) -> Reading:
    """The stretch of text that a place names.

    A place that search gave is its passage, without `#part` all of its pages or cells; other lines
    are those lines, a path alone is all.

    Args:
        place: path, `path:line`, `path:first-last`, each with `#part` where a hit has it; of a PDF,
            `path:p7` or `path:p7-8`.
        hit: a passage of an earlier search, in place of `place`. Where the file has changed, a
            note says so, and where its text is now.

    Raises:
        InputError: the place is outside the roots, not searched, or holds no text; or the hit is
            no passage of a file.
    """
    if hit:
        if not hit.place:
            raise InputError(f"passage {hit.id!r:.60} came in a list, not from a file")
        place = hit.id if hit.id.startswith(hit.place) else hit.place
    try:
        path, lines, found = library.read(place)
    except InputError:
        if not place.isdecimal():
            raise
        raise InputError(f"{place:.60} is a hit's number: its run is needed too") from None
    reading = _whole(path, found)
    if hit:
        return _as_found(reading, lines, hit.text)
    start, end = _select(reading, lines)
    return replace(reading, start=start, end=end)


def _whole(path: str, found: Extraction) -> Reading:
    text = found.document.text.removesuffix("\n")
    spans = found.document.spans or _spans(found)
    ends = ((start, min(end, len(text))) for start, end in spans)
    chunks = tuple(zip(found.chunks, ends, strict=True))
    unread = tuple(fault.line for fault in found.faults if fault.line)
    numbers, starts = found.document.numbers, line_starts(text)
    return Reading(path, text, numbers, starts, chunks, unread, 0, len(text))


def _spans(found: Extraction) -> Iterator[Span]:
    end = 0
    for chunk in found.chunks:  # verbatim and in order, with nothing but blank space between
        start = found.document.text.index(chunk.text, end)
        end = start + len(chunk.text)
        yield start, end


def _as_found(whole: Reading, lines: str, passage: str) -> Reading:
    """A hit's passage where it is now; what has changed is a note."""
    passage = passage.rstrip("\n")
    what = f"the passage of {whole.unit} {lines[1:]:.30}" if lines else "the passage"
    gone = f"{_CHANGED}: {what} is not in it any more; search again"
    try:
        start, end = _select(whole, lines)
    except InputError:
        if passage not in whole.text:
            raise InputError(f"{whole.path}: {gone}") from None
        start = end = 0
    if passage in whole.text[start:end]:
        return replace(whole, start=start, end=end)
    if (at := whole.text.find(passage)) < 0:
        return replace(whole, start=start, end=end, notes=(gone,))
    end = at + len(passage)
    now = whole.place(at, end).rpartition(":")[2]
    return replace(
        whole, start=at, end=end, notes=(f"{_CHANGED}: {what} is in {whole.unit} {now} now",)
    )


def _select(whole: Reading, lines: str) -> Span:
    """The offsets of the passage, or else of the lines, that a place names; of all without any."""
    if not lines:
        return whole.start, whole.end
    named = _LINES.fullmatch(lines)
    assert named  # noqa: S101 - `Walk.find` cut it so
    first, last, part = (int(n) if n and len(n) < _MAX_DIGITS else 0 for n in named.groups())
    last = last or first
    for chunk, span in whole.chunks if part or whole.unit == "lines" else ():
        if (chunk.start, chunk.end, chunk.part) == (first, last, part or 1):
            return span
    size, numbers = len(whole.starts), whole.numbers
    top, bottom = bisect_left(numbers, first, 0, size), bisect_right(numbers, last, 0, size)
    if part > 1 or top >= bottom:
        has = f"it has {whole.unit} {numbers[0]} to {whole.last}"
        raise InputError(f"{whole.path} has no text at {lines[1:]:.30}; {has}")
    return whole.starts[top], whole.line_end(bottom - 1)
