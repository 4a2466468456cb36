"""What stands above a line of code or of a table: the function or class it is in, the header."""

from __future__ import annotations

import re
from functools import cache

from rearank_agent.search.titles import Heading, Titles, headings_above, short_title

__all__ = ["definitions_above", "header_above", "prose_above"]

_BEFORE = (
    r"(?:(?:abstract|async|const|data|default|export|extern|final|inline|internal|open|override"
    r"|partial|private|protected|pub(?:\([a-z]+\))?|public|sealed|static|suspend|unsafe|virtual)\s+)*"
)
_NAMED = (
    r"(?:class|def|defmodule|defp|enum|fn|func|fun|function\*?|impl|interface|module|namespace"
    r"|object|proc|record|struct|sub|trait|type)\s+[\w<(]"
)
# C, C++, C# and Java name a function without such a word; what opens a block is no statement.
_BRACED = (
    r"(?!(?:catch|do|else|for|if|return|switch|try|while)\b)\w[\w\s<>\[\],.:*&~]*"
    r"\([^;{}]*\)[^;{}]*\{\s*$"
)
_DEFINITION = re.compile(f"{_BEFORE}(?:{_NAMED}|{_BRACED})")
_MOST = 200  # characters of a line that may define something
_NAME_END = re.compile(r"(?<=\w)[(:].*|\s*\{.*")
_RULE = re.compile(r"\s*\|?\s*:?-{2,}:?\s*(?:\|\s*:?-{2,}:?\s*)*\|?\s*")


def definitions_above(text: str) -> Titles:
    """The functions and classes that a line is in: above it and less indented, in any language.

    A line that is no more indented ends them, unless it begins with a bracket.
    """
    title = cache(lambda names: short_title(list(names)))
    entered: list[tuple[int, str]] = []
    above: list[tuple[str, ...]] = []
    for line in text.split("\n"):
        body = line.lstrip(" \t")
        indent = len(line[: len(line) - len(body)].expandtabs())
        if body.strip() and body[0] not in "()[]{}":
            while entered and entered[-1][0] >= indent:
                entered.pop()
        above.append(tuple(name for outer, name in entered if outer < indent))
        if len(body) <= _MOST and _DEFINITION.match(body):
            entered.append((indent, _NAME_END.sub("", body, count=1)))
    return lambda line: title(above[line])


def header_above(text: str) -> Titles:
    """The first line of CSV or TSV, above all other lines."""
    header = short_title([text.partition("\n")[0].strip()])
    return lambda line: header if line else ""


def prose_above(text: str, headings: dict[int, Heading]) -> Titles:
    """The headings above a line; in the rows of a Markdown table, its header as well."""
    outer = headings_above(headings)
    header, headers, last = "", {}, ""
    for at, line in enumerate(text.split("\n")):
        if "|" not in line:
            header = ""
        elif "|" in last and _RULE.fullmatch(line):
            header = last.strip().strip("|").strip()
        if header:
            headers[at] = header
        last = line

    def over(line: int) -> str:
        title, header = outer(line), headers.get(line)
        return short_title([*filter(None, [title]), header]) if header else title

    return over
