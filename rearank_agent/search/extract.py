"""The text of a file as chunks: Markdown, code, HTML, JSON Lines; PDF, Office with an extra.

A file is text if its content has no zero byte and is UTF-8.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePath
from typing import BinaryIO

from rearank_agent.search.chunk import Chunk, Document, chunk_document
from rearank_agent.search.convert import SUFFIXES
from rearank_agent.search.html import html_document
from rearank_agent.search.titles import headings
from rearank_agent.search.unread import FileFault, UnreadError

__all__ = ["MAX_BYTES", "Extraction", "extract"]

MAX_BYTES = 64 * 2**20
"""Bytes of the largest file that is read."""

_PROSE = frozenset({"", ".markdown", ".md", ".mdx", ".rst", ".text", ".txt"})
_HTML = frozenset({".htm", ".html", ".xhtml"})
_LINES = frozenset({".jsonl", ".ndjson"})
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
class Extraction:
    """The chunks and faults of a file; `cacheable` if they stay the same until it changes."""

    chunks: tuple[Chunk, ...] = ()
    faults: tuple[FileFault, ...] = ()
    cacheable: bool = True


def extract(
    name: str, open_file: Callable[[], BinaryIO], convert: Callable[[bytes, str], str]
) -> Extraction:
    """The chunks of a file of any kind; what cannot be read is a fault, never raised.

    The lines of PDF and Office files are those of their conversion to Markdown.

    Args:
        name: the file's name, which says what it is.
        open_file: opens it, unless its name says that it holds no text; raises UnreadError.
        convert: the Markdown of a PDF or Office file by its bytes and suffix; raises UnreadError.
    """
    suffix = PurePath(name).suffix.lower()
    if why := _SUFFIX_NOT_TEXT.get(suffix):
        return Extraction(faults=(FileFault("binary", why),))
    try:
        data = _bytes(open_file, text=suffix not in SUFFIXES)
        text = convert(data, suffix) if suffix in SUFFIXES else _decoded(data)
    except UnreadError as unread:
        return Extraction(faults=(unread.fault,), cacheable=unread.cacheable)
    if suffix in _LINES:
        return _rows(text)
    prose = suffix in _PROSE or suffix in SUFFIXES
    document = html_document(text) if suffix in _HTML else _text_document(text, prose)
    return Extraction(chunk_document(document))


def _bytes(open_file: Callable[[], BinaryIO], text: bool) -> bytes:
    try:
        with open_file() as file:
            start = file.read(8192)
            if text and start.startswith((b"\xff\xfe", b"\xfe\xff")):
                raise UnreadError("encoding", "is UTF-16; saved as UTF-8 it can be read")
            if text and b"\0" in start:
                raise UnreadError("binary", "is not text")
            if os.fstat(file.fileno()).st_size > MAX_BYTES:
                raise UnreadError("large", f"is larger than {MAX_BYTES // 2**20} MiB")
            return start + file.read(MAX_BYTES)
    except OSError as error:
        raise UnreadError.of(error) from None


def _decoded(data: bytes) -> str:
    if b"\0" in data:
        raise UnreadError("binary", "is not text")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UnreadError("encoding", f"is not UTF-8 (first seen in line {line})") from None
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
