"""A stretch of a file as an answer within a token budget: the text around it as far as it fits."""

from __future__ import annotations

import json
import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace

from rearank_agent.errors import InputError
from rearank_agent.present.answer import estimate_tokens
from rearank_agent.search.place import strip_lines, unit_of
from rearank_agent.search.read import Reading, Span
from rearank_agent.text import one_line, text_line

__all__ = ["AROUND", "ReadAnswer", "numbered", "read_answer", "read_text"]

AROUND = 20
"""Lines on each side of what was asked for, if nobody says how many."""

_MAX_PATH = 6  # the budget's tokens for each byte of a path, which an answer has six times
_NAMED = 3  # of the lines that could not be read


@dataclass(frozen=True, slots=True)
class ReadAnswer:
    """A stretch of a file.

    Attributes:
        place: path and lines, or a PDF's pages.
        of: the number of the last of them that has text.
        part: from 1.
        parts: more than one where what was asked for is longer than an answer.
        text: each line behind its number; "7…" is the rest of line 7.
        before: the place to read for what is before, if there is anything.
        after: the place to read for what is after.
        notes: what differs from what was asked for.
    """

    place: str
    of: int
    part: int
    parts: int
    text: str
    before: str
    after: str
    notes: tuple[str, ...]

    @property
    def where(self) -> str:
        """The place, and how much there is in all."""
        return f"{self.place} of {self.of} {unit_of(strip_lines(self.place))}"


def read_answer(reading: Reading, around: int, part: int, max_tokens: int | None) -> ReadAnswer:
    """The answer to `read`.

    Args:
        around: the maximum number of lines on each side; as many as fit are shown, and none of a
            stretch that is too long for one answer.
        part: from 1; such a stretch has several.
        max_tokens: of a part, for its text and its structured form together; None for no limit.

    Raises:
        InputError: no such part.
    """
    if max_tokens is None:
        return _answer(reading, *reading.widened(around), 1, 1)
    reading = replace(reading, path=_end_of(reading.path, max_tokens // _MAX_PATH))
    room = 3 * (max_tokens - _size(_largest_frame(reading)) - 2)  # bytes; both sizes are rounded
    pieces = _pieces(reading, around, max(100, room))
    if not 1 <= part <= len(pieces):
        raise InputError(f"there is no part {part}: parts go from 1 to {len(pieces)}")
    return _answer(reading, *pieces[part - 1], part, len(pieces))


def numbered(reading: Reading, start: int, end: int) -> Iterator[str]:
    """The lines from one offset to another, each behind its number; no text can forge one."""
    for number, begin, stop in reading.lines(start, end):
        yield _numbered(number, reading.text[begin:stop])


def read_text(answer: ReadAnswer) -> str:
    """The answer in lines: the place, the text, the notes, and where to read on."""
    part = f", part {answer.part} of {answer.parts}" if answer.parts > 1 else ""
    lines = [f"{answer.where}{part}"]
    below = [f"note: {note}" for note in answer.notes]
    if answer.part < answer.parts:
        below.append(f"more: ask read again with part={answer.part + 1}")
    for where, place in (("before", answer.before), ("after", answer.after)):
        below += [f"more {where}: read {place}"] if place else []
    return "\n".join([*map(one_line, lines), answer.text, *map(one_line, below)])


def _answer(reading: Reading, start: int, end: int, part: int, parts: int) -> ReadAnswer:
    before, after = reading.before(start), reading.after(end)
    first = reading.number(start) if before else 0
    last = reading.number(end) if after else math.inf
    unread = [line for line in reading.unread if first <= line <= last]
    return ReadAnswer(
        reading.place(start, end),
        reading.last,
        part,
        parts,
        "\n".join(numbered(reading, start, end)),
        before if part == 1 else "",
        after if part == parts else "",
        (*reading.notes, *_left_out(unread[:_NAMED], len(unread))),
    )


def _largest_frame(reading: Reading) -> ReadAnswer:
    """An answer without text, as large as one of this file can be."""
    last, unread = reading.last, reading.unread
    place = f"{reading.path}:p{last}-{last}#99999"
    notes = (*reading.notes, *_left_out(unread[-_NAMED:], len(unread)))
    return ReadAnswer(place, last, 99_998, 99_999, "", place, place, notes)


def _left_out(first: Sequence[int], count: int) -> list[str]:
    more = f" and {count - len(first)} more" if count > len(first) else ""
    named = f"{', '.join(map(str, first))}{more}"
    return [f"left out, since they hold no text or no JSON: lines {named}"] if count else []


def _pieces(reading: Reading, around: int, room: int) -> list[Span]:
    """The stretches that answers show: one with as much around it as fits, or the parts of it."""
    wider: list[Span] = [(reading.start, reading.end)]
    wider += (reading.widened(lines) for lines in range(around + 1))
    fitting = bisect_left(wider, True, key=lambda span: not _fits(reading, span, room))
    return [wider[fitting - 1]] if fitting else list(_parts(reading, room))


def _fits(reading: Reading, span: Span, room: int) -> bool:
    return all((room := room - _cost(line)) >= 0 for line in numbered(reading, *span))


def _parts(reading: Reading, room: int) -> Iterator[Span]:
    """The stretch in parts, split between lines; within one that is longer than a part."""
    at, left = reading.start, room
    for number, begin, end in reading.lines(reading.start, reading.end):
        cost = _cost(_numbered(number, reading.text[begin : min(end, begin + room)]))
        if cost > left < room:
            yield at, begin - 1  # without the end of the line above
            at, left = begin, room
        while cost > left:
            cut = _cut(reading.text, begin, end, number, room)
            yield at, cut
            at = begin = cut
            rest = reading.text[begin : min(end, begin + room)]  # more could not fit
            cost = _cost(_numbered(f"{number.rstrip('…')}…", rest))
        left -= cost
    yield at, reading.end


def _cut(text: str, start: int, end: int, number: str, room: int) -> int:
    """Where a line is split: at a space, if there is one in the second half of what fits."""
    longest = range(start + 1, min(end, start + room))
    over = bisect_left(
        longest, True, key=lambda at: _cost(_numbered(f"{number}…", text[start:at])) > room
    )
    cut = max(start + 1, start + over)
    return text.rfind(" ", (start + cut) // 2, cut) + 1 or cut


def _numbered(number: str, line: str) -> str:
    return f"{number}: {text_line(line)}"


def _cost(line: str) -> int:
    """The bytes of a line and its end, as text and in JSON."""
    return len(line.encode()) + len(json.dumps(line, ensure_ascii=False).encode()) + 1


def _size(answer: ReadAnswer) -> int:
    structured = json.dumps(asdict(answer), ensure_ascii=False)
    return estimate_tokens(read_text(answer)) + estimate_tokens(structured)


def _end_of(path: str, max_bytes: int) -> str:
    """A path on one line, or the end of one that is too long for an answer."""
    path = one_line(path)
    kept = path.encode()[-max_bytes:].decode(errors="ignore")
    return path if kept == path else f"…{kept}"
