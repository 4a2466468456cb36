"""The list in a tool's result, whatever form it came in, and the same form with another order.

found = listlike(result)  # None: there is no list, or it is not clear which
better = found.arranged([2, 0])  # the third item and the first, in the form of the result
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import Any

from rearank_agent.tool_results.fields import (
    fields_of,
    get,
    parts_of,
    place_of,
    put,
    text_of,
    title_of,
)
from rearank_agent.tool_results.text_list import find_text_list
from rearank_agent.types import Passage, check_text

__all__ = ["FoundList", "find_list", "too_few"]

_LISTS = (
    "results", "result", "documents", "docs", "hits", "passages", "items", "matches", "data",
    "chunks", "organic", "root", "entities", "nodes",
)  # fmt: skip
_LEVELS = 2  # {"hits": {"hits": [...]}}


@dataclass(frozen=True)
class FoundList:
    """A list in some form.

    Attributes:
        passages: what the items say; their ids are their positions, from "1".
        items: as they stand in the list; of JSON text, its values or its lines.
        back: makes a result of the original's form from some of the items.
    """

    passages: tuple[Passage, ...]
    items: tuple[Any, ...] = field(repr=False)
    back: Callable[[Sequence[Any]], Any] = field(repr=False)

    def arranged(self, positions: Sequence[int]) -> Any:
        """The result with the items at these positions, in this order; the original stays."""
        return self.back([self.items[position] for position in positions])


def find_list(result: object) -> FoundList | None:
    """The list of two items or more in a result; None if there is none, or not just one.

    It may be a list or tuple; a mapping, model or dataclass around one; JSON or JSON Lines of
    these; text with entries in it, numbered or otherwise alike; or content blocks as MCP has
    them. Prose is no list, and what cannot be read or put together again is none either: nothing
    is raised.
    """
    try:
        found = _written(result) if isinstance(result, str) else _found(result)
        if found:
            found.arranged(range(len(found.items)))  # to fail now, not when it is ranked
    except Exception:  # foreign objects may raise anything
        return None
    return found


def too_few(value: object) -> bool:
    """Whether there is nothing to put in order: one item or none.

    Of a mapping that holds for the list whose name says that it is the results, else for all. A
    list of one list, as Chroma has them, is no such thing.
    """
    named: Mapping[Any, Any] = value if isinstance(value, Mapping) else {"": value}
    lists = {name: one for name, one in named.items() if _is_list(one)}
    results = next((lists[name] for name in _LISTS if name in lists), None)
    chosen = lists.values() if results is None else [results]
    return bool(lists) and all(len(one) < 2 and not any(map(_is_list, one)) for one in chosen)


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple)


def _found(value: Any, levels: int = _LEVELS, named: bool = True) -> FoundList | None:
    if type(value) in (list, tuple):  # what is more than these has a form that we do not know
        return _rows(value, named)
    return _held(value, levels) if levels else None


def _rows(rows: list[Any] | tuple[Any, ...], named: bool) -> FoundList | None:
    """The list itself. Without a name we know, it must be records that have a text."""
    form: Callable[[Sequence[Any]], Any] = type(rows)
    if inner := _in_block(rows, form):
        return inner
    bare = [_without_score(row) for row in rows]
    strings = [isinstance(one, str) for one in bare]
    if len(rows) < 2 or (any(strings) and not (named and all(strings))):
        return None
    if not all(isinstance(one, str) or parts_of(one) for one in bare):
        return None
    texts = [text_of(one) for one in bare]
    if named and not any(map(_is_block, bare)):
        texts = [text or fields_of(one) for text, one in zip(texts, bare, strict=True)]
    if not all(texts):
        return None
    passages = (
        Passage(str(number), text, title=title_of(one), place=place_of(one))
        for number, (text, one) in enumerate(zip(texts, bare, strict=True), 1)
    )
    return FoundList(tuple(passages), tuple(rows), form)


def _in_block(rows: Sequence[Any], form: Callable[[Sequence[Any]], Any]) -> FoundList | None:
    """The list in the one text block, or in the one that holds JSON among others."""
    if not all(map(_is_block, rows)):
        return None
    written = [at for at, row in enumerate(rows) if len(rows) == 1 or _is_json(get(row, "text"))]
    inner = _written(get(rows[written[0]], "text")) if len(written) == 1 else None
    if inner is None:
        return None
    at, back = written[0], inner.back
    return replace(
        inner,
        back=lambda items: form([*rows[:at], put(rows[at], "text", back(items)), *rows[at + 1 :]]),
    )


def _held(whole: object, levels: int) -> FoundList | None:
    """The one list in a mapping or object, or the one whose name says that it is the results."""
    parts = parts_of(whole)
    each = {key: _part(key, value, levels - 1) for key, value in parts.items()}
    found = {key: one for key, one in each.items() if one}
    names = [name for name in _LISTS if name in found] or list(found)
    if not names or (len(names) > 1 and names[0] not in _LISTS):
        return None
    key, inner = names[0], found[names[0]]
    if any(_parallel(inner.items, other) for name, other in parts.items() if name != key):
        return None
    return replace(inner, back=lambda items: put(whole, key, inner.back(items)))


def _part(key: Any, value: Any, levels: int) -> FoundList | None:
    """The list in a field; text is read only where the name says that it is the results."""
    if isinstance(value, str):
        return _written(value) if key in (*_LISTS, "content") else None
    return _found(value, levels, key in _LISTS)


def _parallel(items: Collection[Any], other: object) -> bool:
    """Whether another list goes with the items place by place, as Chroma's ids and documents.

    Records stand alone, and so do strings (say, links to pictures) beside records.
    """
    if not isinstance(other, Collection) or isinstance(other, str | bytes | Mapping):
        return False
    alone = all(map(parts_of, items)) and all(isinstance(o, str) or parts_of(o) for o in other)
    return len(other) == len(items) and not alone


def _written(text: str) -> FoundList | None:
    """A list in JSON, in JSON Lines of objects, or written as people write one."""
    try:
        data = json.loads(text)
    except ValueError:
        return _lines(text) or _outlined(text)
    if (inner := _found(data)) is None:
        return None
    indented = re.match(r"\s*[\[{]\r?\n([ \t]+)", text)
    tight = not indented and not re.search('"[:,] ', text)

    def back(items: Sequence[Any]) -> str:
        written = json.dumps(
            inner.back(items),
            ensure_ascii=False,
            indent=indented and indented[1],
            separators=(",", ":") if tight else None,
        )
        check_text(written, "the JSON")  # an escaped half of a character is one no more
        return written

    return replace(inner, back=back)


def _is_json(text: str) -> bool:
    return text.lstrip().startswith(("[", "{"))


def _lines(text: str) -> FoundList | None:
    lines = [line for line in text.split("\n") if line.strip()]
    try:
        values = [json.loads(line) for line in lines]
    except ValueError:
        return None
    inner = _rows(values, named=True) if all(isinstance(one, dict) for one in values) else None
    end = "\n" if text.endswith("\n") else ""
    return inner and replace(inner, items=tuple(lines), back=lambda items: "\n".join(items) + end)


def _outlined(text: str) -> FoundList | None:
    if (found := find_text_list(text)) is None:
        return None
    inner = _rows(found.entries, named=True)
    return inner and replace(inner, back=found.written)


def _without_score(row: Any) -> Any:
    """The item of a pair of item and score; anything else as it is."""
    pair = isinstance(row, list | tuple) and len(row) == 2 and isinstance(row[1], Real)
    return row[0] if pair else row


def _is_block(item: object) -> bool:
    return get(item, "type") == "text" and isinstance(get(item, "text"), str)
