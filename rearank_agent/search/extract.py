"""The text of a file as chunks: Markdown, code, HTML, JSON Lines; PDF, Office with an extra.

Which files are text, and in which encoding, is in decode.py.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from pathlib import PurePath
from typing import BinaryIO

from rearank_agent.search.above import definitions_above, header_above, prose_above
from rearank_agent.search.chunk import Chunk, Document, chunk_document
from rearank_agent.search.convert import SUFFIXES
from rearank_agent.search.decode import decoded, is_binary
from rearank_agent.search.generated import why_generated
from rearank_agent.search.html import html_document
from rearank_agent.search.notebook import notebook_document
from rearank_agent.search.titles import headings, short_title
from rearank_agent.search.unread import FileFault, UnreadError

__all__ = ["MAX_BYTES", "Extraction", "extract"]

MAX_BYTES = 64 * 2**20
"""Bytes of the largest file that is read."""

_PROSE = frozenset({"", ".markdown", ".md", ".mdx", ".rst", ".text", ".txt"})
_HTML = frozenset({".htm", ".html", ".xhtml"})
_TABLES = frozenset({".csv", ".tsv"})
_LINES = frozenset({".jsonl", ".ndjson"})
_NOT_TEXT = {
    "is an image; text in pictures is not read": (
        ".avif", ".bmp", ".gif", ".heic", ".ico", ".jpeg", ".jpg", ".png", ".svg", ".tif",
        ".tiff", ".webp",
    ),
    "is an archive; unpack it to have its files read": (
        ".7z", ".bz2", ".gz", ".jar", ".rar", ".tar", ".tgz", ".whl", ".xz", ".zip", ".zst",
    ),
}  # fmt: skip
_SUFFIX_NOT_TEXT = {suffix: why for why, suffixes in _NOT_TEXT.items() for suffix in suffixes}
_NO_TEXT = Document("", (1,))


@dataclass(frozen=True, slots=True)
class Extraction:
    """The chunks and faults of a file, and the text that the chunks are slices of, in order.

    `cacheable` if they stay the same until the file changes.
    """

    chunks: tuple[Chunk, ...] = ()
    faults: tuple[FileFault, ...] = ()
    cacheable: bool = True
    document: Document = field(default=_NO_TEXT, compare=False, repr=False)


def extract(
    name: str,
    open_file: Callable[[], BinaryIO],
    convert: Callable[[bytes, str], str],
    named: bool = False,
) -> Extraction:
    """The chunks of a file of any kind; what cannot be read is a fault, never raised.

    The lines of Office files are those of their conversion to Markdown, those of a PDF are its
    pages, those of a notebook its cells.

    Args:
        name: the file's name, which says what it is.
        open_file: opens it, unless its name says that it holds no text; raises UnreadError.
        convert: the Markdown of a PDF or Office file by its bytes and suffix, with a form feed
            between the pages of a PDF; raises UnreadError.
        named: whether somebody asked for this very file, and not for a folder above it: then it is
            searched even if a program made it.
    """
    suffix = PurePath(name).suffix.lower()
    if why := _SUFFIX_NOT_TEXT.get(suffix):
        return Extraction(faults=(FileFault("binary", why),))
    try:
        data = _bytes(open_file, text=suffix not in SUFFIXES)
        text, faults = (convert(data, suffix), ()) if suffix in SUFFIXES else decoded(data)
        if not named and suffix not in SUFFIXES and (why := why_generated(name, text)):
            raise UnreadError("generated", f"{why}; name the file itself to search it")
        if suffix in _LINES:
            found = _rows(text)
            return replace(found, faults=(*faults, *found.faults))
        document = _document(text, suffix)
        return Extraction(chunk_document(document), faults, document=document)
    except UnreadError as unread:
        return Extraction(faults=(unread.fault,), cacheable=unread.cacheable)


def _bytes(open_file: Callable[[], BinaryIO], text: bool) -> bytes:
    try:
        with open_file() as file:
            start = file.read(8192)
            if text and is_binary(start):
                raise UnreadError("binary", "is not text")
            if os.fstat(file.fileno()).st_size > MAX_BYTES:
                raise UnreadError("large", f"is larger than {MAX_BYTES // 2**20} MiB")
            return start + file.read(MAX_BYTES)
    except OSError as error:
        raise UnreadError.of(error) from None


def _document(text: str, suffix: str) -> Document:
    if suffix in _HTML:
        return html_document(text)
    if suffix == ".ipynb":
        return notebook_document(text)
    numbers: Sequence[int] = range(1, text.count("\n") + 2)
    if suffix == ".pdf":
        text, numbers = _pages(text)
    if suffix in _PROSE or suffix in SUFFIXES:
        found = headings(text)
        return Document(text, numbers, found, above=prose_above(text, found))
    above = header_above(text) if suffix in _TABLES else definitions_above(text)
    return Document(text, numbers, prose=False, above=above)


def _pages(text: str) -> tuple[str, list[int]]:
    """The text of pages without form feeds, and for each line the number of its page."""
    lines: list[str] = []
    numbers: list[int] = []
    for number, page in enumerate(text.split("\f"), 1):
        own = [*page.split("\n"), ""] if page.strip() else []
        lines += own
        numbers += [number] * len(own)
    return "\n".join(lines), numbers or [1]


def _rows(text: str) -> Extraction:
    """The texts of JSON Lines; a fault for each line without one."""
    chunks: list[Chunk] = []
    faults: list[FileFault] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            chunks += _row(line, number)
        except UnreadError as unread:
            faults.append(unread.fault)
    # a row's title is above its text, where it is read on
    shown = [f"{c.title}\n{c.text}" if c.title and c.part == 1 else c.text for c in chunks]
    ends = accumulate(len(text) + 1 for text in shown)
    spans = [(end - 1 - len(text), end - 1) for end, text in zip(ends, shown, strict=True)]
    lines = zip(chunks, shown, strict=True)
    numbers = [chunk.start for chunk, text in lines for _ in range(text.count("\n") + 1)]
    document = Document("\n".join(shown), numbers, spans=spans)
    return Extraction(tuple(chunks), tuple(faults), document=document)


def _row(line: str, number: int) -> Iterator[Chunk]:
    """The chunks of a row, one or several; raises UnreadError."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        raise UnreadError("line", "is not JSON", line=number) from None
    if not isinstance(row, dict) or not isinstance(row.get("text"), str) or not row["text"].strip():
        raise UnreadError("line", "has no text", line=number)
    title = row["title"] if isinstance(row.get("title"), str) else ""
    own = row.get("id", row.get("_id"))
    try:
        f"{row['text']}{title}{own}".encode()
    except UnicodeEncodeError:
        half = "holds half a character (a lone surrogate)"
        raise UnreadError("line", half, line=number) from None
    meta = {"id": own} if isinstance(own, str | int) else {}
    above = short_title([title]) if title else ""
    numbers = [number] * (row["text"].count("\n") + 1)
    parts = chunk_document(Document(row["text"], numbers, above=lambda _: above))
    return (replace(part, meta=meta) for part in parts)
