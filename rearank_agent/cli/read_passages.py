"""Passages from a file or a pipe: JSON Lines, a JSON array, or one passage a line."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rearank_agent.cli.console import print_note
from rearank_agent.errors import InputError
from rearank_agent.intake.forms import to_passage
from rearank_agent.json_text import parse_json
from rearank_agent.types import Passage

_IDS = 3
_ARRAY = re.compile(r'\s*\[\s*([{"]|\]?\s*$)')  # "[1] a line of text" is none


def read_passages(file: str) -> list[Passage]:
    """The passages of a file, or of stdin for "-"; a note on stderr for ids that are integers.

    Text that starts with a brace is JSON Lines; with a bracket and then an object or a string, a
    JSON array.

    Raises:
        InputError: the file cannot be read, is not UTF-8, or an item is not a passage.
    """
    name, data = _bytes(file)
    lines = list(_lines(name, data))
    if not lines:
        raise InputError(f"{name} holds no passages")
    text = data.decode("utf-8-sig")
    if lines[0][1].lstrip().startswith("{"):
        items = [(where, _object(where, line)) for where, line in lines]
    elif _ARRAY.match(text):
        items = list(_array(name, text))
    else:
        items = [(where, line.strip()) for where, line in lines]
    passages = [_passage(*item, str(number)) for number, item in enumerate(items, 1)]
    _note_integers([item for _, item in items], passages)
    return passages


def _bytes(file: str) -> tuple[str, bytes]:
    if file == "-":
        if sys.stdin.isatty():
            raise InputError("no passages: name a FILE, or pipe them in")
        return "stdin", sys.stdin.buffer.read()
    try:
        return file, Path(file).read_bytes()
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror or error}") from None


def _lines(name: str, data: bytes) -> Iterator[tuple[str, str]]:
    """The place (file and line) and the text of each line that is not blank."""
    for number, raw in enumerate(data.removeprefix(b"\xef\xbb\xbf").splitlines(), 1):
        where = f"{name}, line {number}"
        try:
            line = raw.decode()
        except UnicodeDecodeError as error:
            raise InputError(f"{where}: not UTF-8: {error.reason}") from None
        if line.strip():
            yield where, line


def _object(where: str, line: str) -> object:
    item = _json(where, line)
    if not isinstance(item, dict):
        raise InputError(f"{where}: not a JSON object")
    return item


def _array(name: str, text: str) -> Iterator[tuple[str, object]]:
    """The place (file and number) and the value of each item of an array."""
    found = _json(f"{name}, a JSON array", text)
    if not found:
        raise InputError(f"{name} holds no passages")
    for number, item in enumerate(found, 1):
        where = f"{name}, passage {number}"
        if not isinstance(item, dict | str):
            raise InputError(f"{where}: not a JSON object or string")
        yield where, item


def _json(where: str, text: str) -> Any:
    try:
        return parse_json(text)
    except ValueError as error:
        raise InputError(f"{where}: not JSON: {error}") from None


def _passage(where: str, item: object, position: str) -> Passage:
    try:
        return to_passage(item, position)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _note_integers(items: list[object], passages: list[Passage]) -> None:
    """Say once that ids were integers: in the output they are strings."""
    given = [(one.get("id"), one.get("_id")) if isinstance(one, dict) else () for one in items]
    numbers = [
        passage.id
        for passage, ids in zip(passages, given, strict=True)
        if any(isinstance(one, int) and str(one) == passage.id for one in ids)
    ]
    if numbers:
        more = f" and {len(numbers) - _IDS} more" if len(numbers) > _IDS else ""
        ids = ", ".join(numbers[:_IDS])
        print_note(f"note: ids that are integers are read as strings: {ids}{more}")
