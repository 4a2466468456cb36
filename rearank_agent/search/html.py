"""The visible text of an HTML document, with the line numbers of the source."""

from __future__ import annotations

import re
from html import unescape
from html.parser import HTMLParser

from rearank_agent.search.chunk import Document
from rearank_agent.search.titles import Heading

__all__ = ["html_document"]

_INVISIBLE = frozenset({"script", "style", "template"})
_BREAKS = frozenset({"br", "dd", "dt", "li", "option", "tr"})
_BLOCKS = frozenset(
    {"address", "article", "aside", "blockquote", "body", "details", "div", "dl", "fieldset"}
    | {"figcaption", "figure", "footer", "form", "header", "hr", "main", "nav", "ol", "p"}
    | {"pre", "section", "summary", "table", "title", "ul", "h1", "h2", "h3", "h4", "h5", "h6"}
)
_LINE_END = re.compile(r"&(?:#0*10(?!\d)|#[xX]0*[aA](?![0-9a-fA-F])|NewLine\b);?")


class _TextParser(HTMLParser):
    """Collects the visible text."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.numbers: list[int] = []
        self.headings: dict[int, Heading] = {}
        self._line: list[str] = []
        self._number = 0
        self._inside = dict.fromkeys((*_INVISIBLE, "pre"), 0)
        self._heading: tuple[int, int] | None = None

    def handle_starttag(self, tag: str, _attrs: object) -> None:
        """Note where a block starts."""
        self._break(tag)
        if tag in self._inside:
            self._inside[tag] += 1
        if re.fullmatch("h[1-6]|title", tag):
            self._heading = (int(tag[1]) if tag != "title" else 0, len(self.lines))

    def handle_endtag(self, tag: str) -> None:
        """Note where a block ends."""
        self._break(tag)
        if tag in self._inside:
            self._inside[tag] = max(0, self._inside[tag] - 1)
        if self._heading and re.fullmatch("h[1-6]|title", tag):
            self._close(*self._heading)

    def parse_marked_section(self, i: int, report: bool = True) -> int:
        """Skip `<![...`; one that the parser does not know is a comment, as in browsers."""
        try:
            return super().parse_marked_section(i, report)
        except AssertionError:
            return self.parse_bogus_comment(i)

    def handle_data(self, data: str) -> None:
        """Collect visible text, line by line."""
        if any(self._inside[tag] for tag in _INVISIBLE):
            return
        number = self.getpos()[0]
        for more, line in enumerate(data.split("\n")):
            if more:
                self._flush()
            if not self._number and line.strip():
                self._number = number + more
            self._line.append(line)

    def document(self) -> Document:
        """The text so far."""
        self._flush()
        return Document("\n".join(self.lines), self.numbers or [1], self.headings)

    def _break(self, tag: str) -> None:
        if tag in _BLOCKS or tag in _BREAKS:
            self._flush()
        if tag in _BLOCKS and self.lines and self.lines[-1]:
            self._add("", self.numbers[-1])
        elif tag in ("td", "th"):
            self._line.append(" ")

    def _close(self, level: int, first: int) -> None:
        """Join the lines of a heading."""
        title = " ".join(filter(None, self.lines[first:]))
        number = self.numbers[first] if title else 0
        del self.lines[first:], self.numbers[first:]
        if title:
            self.headings[first] = Heading(level, title)
            self._add(title, number)
        self._heading = None

    def _flush(self) -> None:
        line = "".join(self._line)
        line = line.rstrip() if self._inside["pre"] else " ".join(line.split())
        if line:
            self._add(line, self._number)
        self._line.clear()
        self._number = 0

    def _add(self, line: str, number: int) -> None:
        self.lines.append(line)
        self.numbers.append(number)


def html_document(text: str) -> Document:
    """The text of an HTML document, its lines numbered as in the source."""
    text = _LINE_END.sub(" ", text)  # it would count as a line of the source
    # an unclosed comment would make the parser rescan the rest again and again
    unclosed = text.find("<!--", text.rfind("-->") + 1)
    text = text if unclosed < 0 else text[:unclosed]
    tail = text.rfind(">") + 1
    parser = _TextParser()
    parser.feed(text[:tail])
    parser.close()
    parser.handle_data(unescape(text[tail:]))
    return parser.document()
