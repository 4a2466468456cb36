"""Lists in plain text: numbered, under headings, as bullets or fields, or one path per line.

Many search tools answer in this form. The entries keep their text and their numbers; the text
before the first entry stays before it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["TextList", "find_text_list", "is_single", "marker"]

_NUMBER = re.compile(r" {0,3}(?:#{1,6} +)?\**(?:\[(\d{1,4})\]|\(?(\d{1,4})[.):])\**\s+\S")
_HEADING = re.compile(r"(#{1,6}) +\S")
_BULLET = re.compile(r"[-*+•] +\S")
_FIELD = re.compile(r"(?:#{1,6} +)?\**(\w[\w ]{0,24}?)\**:\**\s")
_PATH = re.compile(r"\S*[/\\.]\S*")
_RULE = re.compile(r"(?:-{3,}|\*{3,}|_{3,}|={3,})?")


@dataclass(frozen=True)
class TextList:
    """A list in a text.

    Attributes:
        head: the text before the list.
        entries: two or more.
        between: the text between two entries.
        end: the text after the last one.
    """

    head: str
    entries: tuple[str, ...]
    between: str
    end: str

    def with_entries(self, entries: Sequence[str]) -> str:
        """The text with these entries."""
        return f"{self.head}{self.between.join(entries)}{self.end}"


def find_text_list(text: str) -> TextList | None:
    """The list of two entries or more in a text; None for prose.

    Of several kinds of lists the one that begins first is taken.
    """
    lines = text.splitlines(keepends=True)
    kinds = (_numbers, _headings, _bullets, _fields, _paths)
    starts = min(
        (found for kind in kinds if len(found := kind(lines)) > 1),
        key=lambda found: found[0],
        default=[],
    )
    return _split(lines, starts) if starts else None


def marker(text: str) -> str:
    """What marks the first line of a text as an entry, for a field with its name; "" for none."""
    line = text.strip().partition("\n")[0]
    kinds = {"number": _NUMBER, "heading": _HEADING, "bullet": _BULLET}
    if kind := next((kind for kind, pattern in kinds.items() if pattern.match(line)), ""):
        return kind
    if found := _FIELD.match(f"{line}\n"):
        return f"field {found[1]}"
    return "path" if _PATH.fullmatch(line) else ""


def is_single(text: str) -> bool:
    """Whether a text is one line, one entry, or the fields of one."""
    lines = [line for line in text.splitlines() if line.strip()]
    fields = [found[1] for line in lines if (found := _FIELD.match(line))]
    patterns = (_NUMBER, _HEADING, _BULLET)
    one = any(sum(map(bool, map(pattern.match, lines))) == 1 for pattern in patterns)
    return len(lines) < 2 or one or len(set(fields)) == len(fields) > 1


def _split(lines: Sequence[str], starts: Sequence[int]) -> TextList:
    ends = [*starts[1:], len(lines)]
    parts = [lines[start:end] for start, end in zip(starts, ends, strict=True)]
    entries = [_without_rules(part) for part in parts]
    between, end = (
        "".join(part)[len(entry) :]
        for part, entry in ((parts[0], entries[0]), (parts[-1], entries[-1]))
    )
    return TextList("".join(lines[: starts[0]]), tuple(entries), between, end)


def _without_rules(part: Sequence[str]) -> str:
    """The lines without trailing blank lines and rules."""
    last = max(at for at, line in enumerate(part) if not _RULE.fullmatch(line.strip()))
    return "".join(part[: last + 1]).rstrip()


def _numbers(lines: Sequence[str]) -> list[int]:
    """Numbers that go up by one, from any first number."""
    starts: list[int] = []
    expected = None
    for at, line in enumerate(lines):
        if found := _NUMBER.match(line):
            number = int(found[1] or found[2])
            if expected in (None, number):
                starts.append(at)
                expected = number + 1
    return starts


def _headings(lines: Sequence[str]) -> list[int]:
    """The headings of the highest level that occurs more than once."""
    found = [(at, _HEADING.match(line)) for at, line in enumerate(lines)]
    levels = [(at, len(heading[1])) for at, heading in found if heading]
    times = Counter(level for _, level in levels)
    highest = min((level for level in times if times[level] > 1), default=0)
    return [at for at, level in levels if level == highest]


def _bullets(lines: Sequence[str]) -> list[int]:
    return [at for at, line in enumerate(lines) if _BULLET.match(line)]


def _fields(lines: Sequence[str]) -> list[int]:
    """The lines of the first field that repeats, as `Title:` does with every entry."""
    names = [(at, found[1]) for at, line in enumerate(lines) if (found := _FIELD.match(line))]
    times = Counter(name for _, name in names)
    first = next((name for _, name in names if times[name] > 1), None)
    return [at for at, name in names if name == first]


def _paths(lines: Sequence[str]) -> list[int]:
    """Every line, if all are paths or addresses."""
    filled = [at for at, line in enumerate(lines) if line.strip()]
    return filled if all(_PATH.fullmatch(lines[at].strip()) for at in filled) else []
