"""The text of a Jupyter notebook: the sources of its cells, without outputs."""

from __future__ import annotations

import json
from typing import Any

from rearank_agent.search.chunk import Document
from rearank_agent.search.titles import Heading, headings
from rearank_agent.search.unread import UnreadError

__all__ = ["notebook_document"]


def notebook_document(text: str) -> Document:
    """The cells with a blank line between them; a line's number is that of its cell, from 1.

    Headings of Markdown cells are above what follows, in code too. Cells without text count.

    Raises:
        UnreadError: it is no notebook of format 4.
    """
    lines: list[str] = []
    numbers: list[int] = []
    above: dict[int, Heading] = {}
    for number, (kind, source) in enumerate(_cells(text), 1):
        if not source.strip():
            continue
        if kind == "markdown":
            above |= {len(lines) + at: found for at, found in headings(source).items()}
        own = [*source.split("\n"), ""]
        lines += own
        numbers += [number] * len(own)
    return Document("\n".join(lines), numbers or [1], above)


def _cells(text: str) -> list[tuple[str, str]]:
    """The kind and the source of each cell."""
    try:
        return [(str(cell["cell_type"]), _source(cell)) for cell in json.loads(text)["cells"]]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise UnreadError("unreadable", "is no notebook of format 4") from None


def _source(cell: dict[str, Any]) -> str:
    source = cell["source"]
    whole = source if isinstance(source, str) else "".join(source)
    whole.encode()  # half a character is a ValueError
    return whole.replace("\r\n", "\n").replace("\r", "\n")
