"""Servers in a host's file of TOML: only the lines of the entry change, comments stay.

Python reads TOML and does not write it. So lines are edited, and the result is read again: if
it does not say exactly what it should, nothing is written.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Sequence
from io import StringIO
from typing import Any

__all__ = ["entry_text", "parse", "with_entry"]

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_KEY = re.compile(r"""\s*([A-Za-z0-9_-]+|"[^"\\]*"|'[^']*')\s*=""")
_FILLER = re.compile(r"\s*(?:#.*)?")  # a blank line or a comment

Table = tuple[str, ...]


def parse(text: str) -> dict[str, Any]:
    """The file as a mapping; raises ValueError if it is not valid TOML."""
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is not valid TOML: {error}") from None


def with_entry(text: str, key: str, name: str, entry: dict[str, Any] | None) -> str:
    """The file's text with the entry set, or removed (None).

    Raises:
        ValueError: the entry is written in a way that cannot be edited line by line.
    """
    wanted = parse(text)
    old = wanted.setdefault(key, {}).pop(name, None)
    table = (key, name)
    lines = StringIO(text).readlines()  # TOML has no other ends of lines
    if entry is None:
        _remove(lines, table)
    elif old is None:
        _append(lines, entry_text(key, name, entry))
    else:
        _change(lines, table, old, entry)
    if entry is not None:
        wanted[key][name] = entry
    new = "".join(lines)
    try:
        found = tomllib.loads(new)
    except ValueError:
        found = {}
    if {key: {}} | found != wanted:
        raise ValueError(f"has {key}.{name} in a form that cannot be edited safely")
    return new


def entry_text(key: str, name: str, entry: dict[str, Any]) -> str:
    """The entry as a table."""
    lines = [f"[{_name(key)}.{_name(name)}]"]
    lines += [f"{_name(field)} = {_value(value)}" for field, value in entry.items()]
    return "\n".join(lines)


def _append(lines: list[str], block: str) -> None:
    end = _line_end(lines)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += end
    blank = [end] if lines and lines[-1].strip() else []
    lines += [*blank, *(line + end for line in block.split("\n"))]


def _remove(lines: list[str], table: Table) -> None:
    for start, stop, found in reversed(_tables(lines)):
        if found[: len(table)] == table:
            blank = start > 0 and not lines[start - 1].strip()
            del lines[start - blank : stop]


def _change(lines: list[str], table: Table, old: dict[str, Any], entry: dict[str, Any]) -> None:
    """Set what differs, a sub-table's fields one by one, and drop what is gone."""
    for field in [*old, *(new for new in entry if new not in old)]:
        before, after = old.get(field), entry.get(field)
        if before == after:
            continue
        below = (*table, field)
        if isinstance(before, dict) and any(one[2] == below for one in _tables(lines)):
            if after is None:
                _remove(lines, below)
            else:
                _change(lines, below, before, after)
        else:
            _set(lines, table, field, after)


def _set(lines: list[str], table: Table, field: str, value: Any) -> None:
    """Replace, add or remove (None) the line of a field in a table."""
    where = next(((start, stop) for start, stop, found in _tables(lines) if found == table), None)
    if where is None:
        return  # the check of the result finds out
    at, stop = next(
        (span for span in _fields(lines, *where) if _field(lines[span[0]]) == field),
        (where[0] + 1, where[0] + 1),
    )
    if not lines[where[0]].endswith("\n"):
        lines[where[0]] += "\n"
    line = f"{_name(field)} = {_value(value)}{_comment(lines[at:stop])}{_line_end(lines)}"
    lines[at:stop] = [] if value is None else [line]


def _comment(lines: Sequence[str]) -> str:
    """The comment behind the value of a field, with the space before it."""
    text = "".join(lines)
    marks = (at for at, character in enumerate(text) if character == "#")
    before = next((text[:at] for at in marks if _reads(text[:at])), text).rstrip()
    return text[len(before) :].rstrip()


def _tables(lines: Sequence[str]) -> list[tuple[int, int, Table]]:
    """Each table's header line, the line behind its last field, and its name."""
    heads = [(at, _header(line)) for at, line in enumerate(lines) if line.lstrip().startswith("[")]
    ends = [*(at for at, _ in heads[1:]), len(lines)]
    found = []
    for (start, name), stop in zip(heads, ends, strict=False):
        while stop > start + 1 and _FILLER.fullmatch(lines[stop - 1].rstrip("\r\n")):
            stop -= 1  # a comment there belongs to the next table
        found.append((start, stop, name))
    return found


def _header(line: str) -> Table:
    """The name in a table's header; empty for an array of tables, or for no header."""
    try:
        value: Any = tomllib.loads(line)
    except ValueError:
        return ()
    parts = []
    while isinstance(value, dict) and value:
        ((part, value),) = value.items()
        parts.append(part)
    return () if isinstance(value, list) else tuple(parts)


def _fields(lines: Sequence[str], start: int, stop: int) -> list[tuple[int, int]]:
    """The lines of each field of a table; a value may take several."""
    spans, at = [], start + 1
    while at < stop:
        ends = range(at + 1, stop + 1)
        end = next((end for end in ends if _reads("".join(lines[at:end]))), at + 1)
        spans.append((at, end))
        at = end
    return spans


def _reads(text: str) -> bool:
    try:
        tomllib.loads(text)
    except ValueError:
        return False
    return True


def _field(line: str) -> str:
    found = _KEY.match(line)
    return found[1].strip("\"'") if found else ""


def _line_end(lines: Sequence[str]) -> str:
    return "\r\n" if lines and lines[0].endswith("\r\n") else "\n"


def _name(name: str) -> str:
    return name if _BARE.fullmatch(name) else _value(name)


def _value(value: Any) -> str:
    if isinstance(value, dict):
        pairs = ", ".join(f"{_name(name)} = {_value(one)}" for name, one in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    # A string of JSON is one of TOML, except for DEL.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
