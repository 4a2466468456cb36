"""The text of a file as chunks: Markdown, code, HTML, JSON Lines; PDF, Office with an extra.

A file is text if its content has no zero byte and is UTF-8.
"""

from __future__ import annotations

import io
import json
import os
from dataclasses import dataclass
from pathlib import Path

from rearank_agent.extras import install_line
from rearank_agent.search.chunk import Chunk, Document, chunk_document, headings
from rearank_agent.search.html import html_document

__all__ = ["MAX_BYTES", "Extraction", "FileFault", "extract"]

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
_NOT_TEXT = {
    "is an image; text in pictures is not read": (
        ".avif", ".bmp", ".gif", ".heic", ".ico", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp",
    ),
    "is an archive; unpack it to have its files read": (
        ".7z", ".bz2", ".gz", ".jar", ".rar", ".tar", ".tgz", ".whl", ".xz", ".zip", ".zst",
    ),
}  # fmt: skip
_SUFFIX_NOT_TEXT = {suffix: why for why, suffixes in _NOT_TEXT.items() for suffix in suffixes}


@dataclass(frozen=True, slots=True)
class FileFault:
    """Why a file, or one line of it (from 1; 0 for the file), was left out."""

    kind: str
    reason: str
    line: int = 0


@dataclass(frozen=True, slots=True)
class Extraction:
    """The chunks and faults of a file; `cacheable` if they stay the same until it changes."""

    chunks: tuple[Chunk, ...] = ()
    faults: tuple[FileFault, ...] = ()
    cacheable: bool = True


class _UnreadError(Exception):
    """Carries the extraction of a file without text."""

    def __init__(self, kind: str, reason: str, cacheable: bool = True) -> None:
        fault = FileFault(kind, reason)
        self.extraction = Extraction(faults=(fault,), cacheable=cacheable)


def extract(path: Path) -> Extraction:
    """The chunks of a file of any kind; what cannot be read is a fault, never raised.

    The lines of PDF and Office files are those of their conversion to Markdown.
    """
    suffix = path.suffix.lower()
    if why := _SUFFIX_NOT_TEXT.get(suffix):
        return Extraction(faults=(FileFault("binary", why),))
    try:
        data = _bytes(path, text=suffix not in _OFFICE)
        if suffix in _OFFICE:
            return Extraction(chunk_document(_text_document(_converted(data, suffix), prose=True)))
        text = _decoded(data)
    except _UnreadError as unread:
        return unread.extraction
    if suffix in _LINES:
        return _rows(text)
    prose = suffix in _PROSE
    document = html_document(text) if suffix in _HTML else _text_document(text, prose)
    return Extraction(chunk_document(document))


def _bytes(path: Path, text: bool) -> bytes:
    # do not follow a link that took the file's place, nor wait for a pipe
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
        raise _UnreadError("vanished", "was gone before it was read", cacheable=False) from None
    except OSError as error:
        reason = f"cannot be read ({error.strerror or error})"
        raise _UnreadError("unreadable", reason, cacheable=False) from None


def _decoded(data: bytes) -> str:
    if b"\0" in data:
        raise _UnreadError("binary", "is not text")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _UnreadError("encoding", f"is not UTF-8 (first seen in line {line})") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _text_document(text: str, prose: bool) -> Document:
    numbers = range(1, text.count("\n") + 2)
    return Document(text, numbers, headings(text) if prose else {}, prose)


def _rows(text: str) -> Extraction:
    """One chunk for each line of JSON Lines; a fault for other lines."""
    chunks: list[Chunk] = []
    faults: list[FileFault] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        found = _row(line, number)
        (chunks if isinstance(found, Chunk) else faults).append(found)  # type: ignore[arg-type]
    return Extraction(tuple(chunks), tuple(faults))


def _row(line: str, number: int) -> Chunk | FileFault:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return FileFault("line", "is not JSON", number)
    if not isinstance(row, dict) or not isinstance(row.get("text"), str) or not row["text"].strip():
        return FileFault("line", "has no text", number)
    title = row["title"] if isinstance(row.get("title"), str) else ""
    own = row.get("id", row.get("_id"))
    meta = {"id": own} if isinstance(own, str | int) else {}
    chunk = Chunk(row["text"], number, number, title=title, meta=meta)
    try:
        f"{chunk.text}{title}{own}".encode()
    except UnicodeEncodeError:
        return FileFault("line", "holds half a character (a lone surrogate)", number)
    return chunk


def _converted(data: bytes, suffix: str) -> str:
    """A PDF or Office file as Markdown."""
    missing = _UnreadError("extra", f"needs: {install_line('docs')}", cacheable=False)
    try:
        from markitdown import MissingDependencyException, StreamInfo, converters
    except ImportError:
        raise missing from None
    # MarkItDown itself would fall back to plain text where the converter refuses a file
    converter = getattr(converters, _OFFICE[suffix])()
    try:
        markdown = converter.convert(io.BytesIO(data), StreamInfo(extension=suffix)).markdown
    except MissingDependencyException:
        raise missing from None
    except Exception as error:  # a converter may raise anything on a broken file
        first = str(error).strip().partition("\n")[0] or type(error).__name__
        raise _UnreadError("unreadable", f"cannot be converted ({first})") from None
    if not markdown.strip():
        raise _UnreadError("unreadable", "holds no text; a scan must go through OCR first")
    return str(markdown).encode(errors="replace").decode()
