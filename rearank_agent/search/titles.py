"""What stands above a line of a document: its headings, at most `MAX_TITLE` tokens of them."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import accumulate

from rearank_agent.policies.embedded.token_count import count_tokens, token_steps

__all__ = ["MAX_TITLE", "Heading", "Titles", "headings", "headings_above", "short_title"]

MAX_TITLE = 50
"""Tokens of a title: a fifth of what the encoder reads."""

Titles = Callable[[int], str]
"""The title of a chunk by its first line, from 0."""

_NUMBER_SIGNS = re.compile(r" {0,3}(#{1,6})\s+(\S.*)")
_UNDERLINE = re.compile(r"(?:={3,}|-{3,}|~{3,}|\^{3,})\s*")
_FENCE = re.compile(r" {0,3}(```+|~~~+)")


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading: level 1 is the outermost; `lines` includes an underline."""

    level: int
    title: str
    lines: int = 1


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


def headings_above(headings: Mapping[int, Heading]) -> Titles:
    """The headings above a line; a heading is not above itself, since the chunk has its text."""
    positions = sorted(headings)
    trails: list[tuple[str, str]] = []
    outer: list[Heading] = []
    for at in positions:
        outer = [heading for heading in outer if heading.level < headings[at].level]
        above = short_title([heading.title for heading in outer])
        outer.append(headings[at])
        trails.append((above, short_title([heading.title for heading in outer])))

    def over(line: int) -> str:
        passed = bisect_right(positions, line)
        return trails[passed - 1][line not in headings] if passed else ""

    return over


def short_title(parts: list[str]) -> str:
    """The parts from the outermost in, without the outer ones that are too many; the last is cut.

    The inner ones are closer to what is below.
    """
    if not parts:
        return ""
    *outer, last = parts
    sizes = accumulate(count_tokens(f"{part} >") for part in reversed(outer))
    room = MAX_TITLE - count_tokens(last)
    fitting = sum(size <= room for size in sizes)
    if room < 0:
        most = MAX_TITLE - 1
        last = last[: next(token_steps(last, 0, len(last), most)) or most].rstrip() + "…"
    return " > ".join([*outer[len(outer) - fitting :], last])
