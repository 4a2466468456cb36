"""The text of a PDF by pages, in the process that converts documents: search/convert_worker.py.

MarkItDown's own converter joins the pages, and does not say where one ends.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import BytesIO, StringIO
from itertools import zip_longest

__all__ = ["pdf_text"]


def pdf_text(data: bytes) -> str:
    """The pages, with a form feed between them.

    A page is text by pdfminer; in columns, as MarkItDown makes a table of it. That sees tables in
    justified prose too, and joins the words of a line there: then the text is kept.

    Raises:
        ModuleNotFoundError: a library is missing.
        Exception: whatever pdfminer raises on a broken file.
    """
    pages = zip_longest(_texts(data), list(_tables(data)))
    best = (table if table and _words(text) <= _words(table) else text for text, table in pages)
    return "\f".join(page.replace("\f", "\n").rstrip() for page in best)


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text))


def _texts(data: bytes) -> Iterator[str]:
    from pdfminer.converter import TextConverter
    from pdfminer.layout import LAParams
    from pdfminer.pdfinterp import PDFPageInterpreter, PDFResourceManager
    from pdfminer.pdfpage import PDFPage

    fonts = PDFResourceManager()
    for page in PDFPage.get_pages(BytesIO(data)):
        text = StringIO()
        with TextConverter(fonts, text, laparams=LAParams()) as device:
            PDFPageInterpreter(fonts, device).process_page(page)
        yield text.getvalue()


def _tables(data: bytes) -> Iterator[str | None]:
    """For each page its Markdown with a table, or None; as far as pdfplumber understands them."""
    try:
        import pdfplumber
        from markitdown.converters import _pdf_converter

        table_of = _pdf_converter._extract_form_content_from_words
    except (ImportError, AttributeError):  # it is private there: without it, text alone
        return
    try:
        with pdfplumber.open(BytesIO(data)) as pdf:
            for page in pdf.pages:
                yield table_of(page)
                page.close()  # or what it parsed is kept
    except Exception:  # pdfminer may read the file all the same
        return
