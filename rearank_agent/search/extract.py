"""A file as passages: text, Markdown, code, HTML, JSON Lines; PDF and Office with an extra.

Whether a file is text is seen in its content: no zero byte, and UTF-8.
"""

from __future__ import annotations

import io
import json
import os
from dataclasses import dataclass
from pathlib import Path

from rearank_agent.errors import install_line
from rearank_agent.search.chunk import Chunk, Document, chunk_document, headings
from rearank_agent.search.html import html_document

__all__ = ["MAX_BYTES", "Extraction", "Note", "extract"]

MAX_BYTES = 64 * 2**20
"""Bytes of the largest file that is read."""

_PROSE = frozenset({"", ".markdown", ".md", ".mdx", ".rst", ".text", ".txt"})
_HTML = frozenset({".htm", ".html", ".xhtml"})
_LINES = frozenset({".jsonl", ".ndjson"})
_OFFICE = {
    ".docx": "DocxConverter",
    ".pdf": "PdfConverter",
    ".pptx": "PptxConverter",
    ".xlsx": "XlsxConverter",
}


@dataclass(frozen=True, slots=True)
class Note:
    """Why a file, or one line of it (from 1; 0 for all of it), was left out."""

    kind: str
    why: str
    line: int = 0


@dataclass(frozen=True, slots=True)
class Extraction:
    """What a file gave; `lasting` if it gives the same until it changes."""

    pieces: tuple[Chunk, ...] = ()
    notes: tuple[Note, ...] = ()
    lasting: bool = True


class _UnreadError(Exception):
    """Carries the reading of a file that gives nothing."""

    def __init__(self, kind: str, why: str, lasting: bool = True) -> None:
        self.reading = Extraction(notes=(Note(kind, why),), lasting=lasting)


def extract(path: Path) -> Extraction:
    """The passages of a file, whatever it is: what cannot be read is noted, never raised.

    The lines of PDF and Office files are those of their conversion to Markdown.
    """
    suffix = path.suffix.lower()
    try:
        data = _bytes(path, text=suffix not in _OFFICE)
        if suffix in _OFFICE:
            return Extraction(chunk_document(_text_page(_converted(data, suffix), prose=True)))
        text = _decoded(data)
    except _UnreadError as unread:
        return unread.reading
    if suffix in _LINES:
        return _rows(text)
    page = html_document(text) if suffix in _HTML else _text_page(text, suffix in _PROSE)
    return Extraction(chunk_document(page))


def _bytes(path: Path, text: bool) -> bytes:
    # neither a link that took the file's place nor a pipe may be followed or waited for
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        with os.fdopen(os.open(path, flags | getattr(os, "O_BINARY", 0)), "rb") as file:
            length = os.fstat(file.fileno()).st_size
            start = file.read(8192)
            if text and start.startswith((b"\xff\xfe", b"\xfe\xff")):
                raise _UnreadError("encoding", "is UTF-16; saved as UTF-8 it can be read")
            if text and b"\0" in start:
                raise _UnreadError("binary", "is not text")
            if length > MAX_BYTES:
                raise _UnreadError("large", f"is larger than {MAX_BYTES // 2**20} MiB")
            return start + file.read(MAX_BYTES)
    except FileNotFoundError:
        raise _UnreadError("vanished", "was gone before it was read", lasting=False) from None
    except OSError as error:
        why = f"cannot be read ({error.strerror or error})"
        raise _UnreadError("unreadable", why, lasting=False) from None


def _decoded(data: bytes) -> str:
    if b"\0" in data:
        raise _UnreadError("binary", "is not text")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _UnreadError("encoding", f"is not UTF-8 (first seen in line {line})") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _text_page(text: str, prose: bool) -> Document:
    numbers = range(1, text.count("\n") + 2)
    return Document(text, numbers, headings(text) if prose else {}, prose)


def _rows(text: str) -> Extraction:
    """One passage a line of JSON Lines; other lines are noted."""
    pieces: list[Chunk] = []
    notes: list[Note] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        found = _row(line, number)
        (pieces if isinstance(found, Chunk) else notes).append(found)  # type: ignore[arg-type]
    return Extraction(tuple(pieces), tuple(notes))


def _row(line: str, number: int) -> Chunk | Note:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return Note("line", "is not JSON", number)
    if not isinstance(row, dict) or not isinstance(row.get("text"), str) or not row["text"].strip():
        return Note("line", "has no text", number)
    title = row["title"] if isinstance(row.get("title"), str) else ""
    own = row.get("id", row.get("_id"))
    meta = {"id": own} if isinstance(own, str | int) else {}
    piece = Chunk(row["text"], number, number, title=title, meta=meta)
    try:
        f"{piece.text}{title}{own}".encode()
    except UnicodeEncodeError:
        return Note("line", "holds half a character (a lone surrogate)", number)
    return piece


def _converted(data: bytes, suffix: str) -> str:
    """A PDF or Office file as Markdown."""
    missing = _UnreadError("extra", f"needs: {install_line('docs')}", lasting=False)
    try:
        from markitdown import MissingDependencyException, StreamInfo, converters
    except ImportError:
        raise missing from None
    # asked as a whole, the library takes what its converter refuses for plain text
    converter = getattr(converters, _OFFICE[suffix])()
    try:
        markdown = converter.convert(io.BytesIO(data), StreamInfo(extension=suffix)).markdown
    except MissingDependencyException:
        raise missing from None
    except Exception as error:  # whatever a foreign reader of broken files may raise
        first = str(error).strip().partition("\n")[0] or type(error).__name__
        raise _UnreadError("unreadable", f"cannot be converted ({first})") from None
    return str(markdown).encode(errors="replace").decode()
