"""Passages from a file or a pipe: JSON Lines, or one passage a line."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from rearank_agent.errors import InputError
from rearank_agent.types import Passage

_FIELDS = ("text", "title", "score", "place", "meta")


def read_passages(file: str) -> list[Passage]:
    """The passages of a file, or of stdin for "-".

    If the first line that is not blank starts with a brace, every line is JSON.

    Raises:
        InputError: the file cannot be read, is not UTF-8, or a line is not a passage.
    """
    name, data = _bytes(file)
    lines: list[tuple[int, str]] = []
    for number, raw in enumerate(data.removeprefix(b"\xef\xbb\xbf").splitlines(), 1):
        try:
            line = raw.decode()
        except UnicodeDecodeError as error:
            raise InputError(f"{name}, line {number}: not UTF-8: {error.reason}") from None
        if line.strip():
            lines.append((number, line))
    if not lines:
        raise InputError(f"{name} holds no passages")
    if not lines[0][1].lstrip().startswith("{"):
        return [Passage(str(n), line.strip()) for n, (_, line) in enumerate(lines, 1)]
    return [_passage(f"{name}, line {number}", str(n), line)
            for n, (number, line) in enumerate(lines, 1)]  # fmt: skip


def _bytes(file: str) -> tuple[str, bytes]:
    if file == "-":
        if sys.stdin.isatty():
            raise InputError("no passages: name a FILE, or pipe them in")
        return "stdin", sys.stdin.buffer.read()
    try:
        return file, Path(file).read_bytes()
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror or error}") from None


def _passage(where: str, position: str, line: str) -> Passage:
    try:
        item: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: not JSON: {error}") from None
    if not isinstance(item, dict):
        raise InputError(f"{where}: not a JSON object")
    if "text" not in item:
        raise InputError(f'{where}: it has no "text"')
    given = {name: item.pop(name) for name in _FIELDS if item.get(name) is not None}
    name = item.pop("id", item.pop("_id", position))
    meta = given.pop("meta", {})
    if not isinstance(meta, dict):
        raise InputError(f"{where}: meta must be an object")
    rest = {key: value for key, value in item.items() if key not in _FIELDS}
    try:
        return Passage(name, given.pop("text", None), meta=meta | rest, **given)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
