"""Whether a list begins with a heading, as `Results for 'fleas':` before its entries."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rearank_agent.tool_results.fields import get, is_block
from rearank_agent.tool_results.text_list import marker

__all__ = ["begins_with_heading"]

_DATA = re.compile(
    r"\s*(?:\{|\[\s*[\[{\"]|(<[^\W\d_][\w:.-]*))"
)  # JSON, or a tag: no prose begins so
_QUOTED = "[\"'“‘«„`]%s[\"'”’»“`]"
_LONGEST = 200  # characters of a heading in a line, beside the query


def begins_with_heading(items: Sequence[object], query: str = "") -> bool:
    """Whether the first item is a heading of the others.

    It is one if it is plain words and all others are data (records, JSON, the same tag). If it
    is one line and looks unlike the others, it is one if these are marked alike (numbers,
    bullets, the same field), if it alone ends in a colon, or if it alone quotes the query.
    """
    if len(items) < 2 or not (first := _plain_text(items[0])):
        return False
    forms = {_form(item) for item in items[1:]}
    if len(forms) == 1 and "" not in forms:
        return True
    others = [_plain_text(item) for item in items[1:]]
    markers = set(map(marker, others))
    if not _is_line(first, query) or marker(first) in markers - {""}:
        return False
    signs = (re.compile(r"[:：]\s*$"), _quoted(query))
    return _is_title(first, markers, len(others)) or any(
        sign.search(first) and not any(map(sign.search, others)) for sign in signs if sign
    )


def _text(item: object) -> str | None:
    """A string itself or a text block's text; None for a record."""
    return item if isinstance(item, str) else get(item, "text") if is_block(item) else None


def _form(item: object) -> str:
    """The form of an item that is data; "" for text of another form."""
    text = _text(item)
    found = _DATA.match(text) if text is not None else None
    return "record" if text is None else (found[1] or "JSON") if found else ""


def _plain_text(item: object) -> str:
    """The text of an item that is no data, without outer space."""
    return "" if _form(item) else (_text(item) or "").strip()


def _is_line(text: str, query: str) -> bool:
    return len(text.splitlines()) == 1 and len(text) <= _LONGEST + len(query)


def _is_title(first: str, markers: set[str], others: int) -> bool:
    """Whether several others have one marker, and the line before them is no sentence."""
    return others > 1 and len(markers) == 1 and "" not in markers and first[-1] not in ".!?…。"


def _quoted(query: str) -> re.Pattern[str] | None:
    words = [re.escape(word) for word in query.split()]
    return re.compile(_QUOTED % r"\s+".join(words), re.IGNORECASE) if words else None
