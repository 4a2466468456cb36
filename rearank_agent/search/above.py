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
# C, C++, C#, Java and JavaScript name a function without such a word, often over several lines.
_SIGNATURE = (
    r"(?!(?:case|catch|do|elif|else|for|foreach|function|if|lock|match|new|return|switch"
    r"|synchronized|throw|try|using|when|while|with)\b)\w[\w\s<>\[\],.:*&~]*\("
)
_BRACED = rf"{_SIGNATURE}[^;]*\)(?!.*=>\s*\{{\s*$)[^;{{}}]*\{{"
_ASSIGNED = (
    r"(?:(?:let|var)\s+)?[\w.$]+\s*(?::(?:[^=;{}]|=>)*)?[=:]\s*(?:async\s*)?"
    r"(?:function\b[^;]*\)|[^;=]*=>)\s*\{\s*$"
)
_DEFINITION = re.compile(_BEFORE + _NAMED)
_FUNCTION = re.compile(f"{_BEFORE}(?:{_BRACED}|{_ASSIGNED})")
_BEGUN = re.compile(f"{_BEFORE}{_SIGNATURE}[^;{{}}]*")
_GOES_ON = re.compile(r"[()\[\]{}#]|//|(?!(?:else|except|finally|try):)\w+:\s*$")
_MOST = 400  # characters of what may define something
_NAME_END = re.compile(r"(?<=[\w>])(?:\(|:(?!:)).*|\s*\{.*|\s=\s.*|(?<!^func)\s+\(.*")
_RULE = re.compile(r"\s*\|?\s*:?-{2,}:?\s*(?:\|\s*:?-{2,}:?\s*)*\|?\s*")


def definitions_above(text: str) -> Titles:
    """The functions and classes that a line is in: above it and less indented, in any language.

    A line that is no more indented ends them, unless it begins with a bracket, or is a comment, a
    directive or a label.
    """
    title = cache(lambda names: short_title(list(names)))
    entered: list[tuple[int, str]] = []
    above: list[tuple[str, ...]] = []
    begun, start = "", 0  # a signature that may go on in the next line, and its indentation
    for line in text.split("\n"):
        body = line.lstrip(" \t")
        indent = len(line[: len(line) - len(body)].expandtabs())
        if body.strip() and not _GOES_ON.match(body):
            while entered and entered[-1][0] >= indent:
                entered.pop()
        above.append(tuple(name for outer, name in entered if outer < indent))
        if begun and body.strip() and (indent > start or body[0] == "{" or not _is_closed(begun)):
            begun = f"{begun} {body}"
        else:
            begun, start = body, indent
        if _defines(begun):
            entered.append((start, _NAME_END.sub("", begun, count=1)))
            begun = ""
        elif len(begun) > _MOST or not _BEGUN.fullmatch(begun):
            begun = ""
    return lambda line: title(above[line])


def _defines(text: str) -> bool:
    """Whether a definition begins with it; a function that is an argument is none."""
    if len(text) > _MOST:
        return False
    braced = text.rstrip().endswith("{") and _is_closed(text)
    return bool(_DEFINITION.match(text) or (braced and _FUNCTION.match(text)))


def _is_closed(text: str) -> bool:
    return text.count("(") == text.count(")")


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
