"""The list in a tool's result, in any form, and the same form in another order.

found = find_list(result)  # None: there is no list, or more than one
better = found.reordered([2, 0])  # the third item and the first, in the form of the result
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from numbers import Real
from typing import Any

from rearank_agent.text import whole_characters
from rearank_agent.tool_results.fields import (
    LIST_NAMES,
    fields_of,
    get,
    is_block,
    parts_of,
    place_of,
    put,
    text_of,
    title_of,
)
from rearank_agent.tool_results.headings import begins_with_heading
from rearank_agent.tool_results.text_list import find_text_list
from rearank_agent.types import Fault, Passage

__all__ = ["ResultList", "find_list"]

_HALVED = (Fault("surrogate", (), "half characters in the tool's result were ranked as U+FFFD"),)
_LEVELS = 2  # {"hits": {"hits": [...]}}


@dataclass(frozen=True)
class ResultList:
    """The list in a result.

    Attributes:
        passages: the items as passages; their ids are their positions, from "1".
        items: as they are in the list; of JSON text, its values or its lines.
        rebuild: makes a result of the original's form from some of the items.
        faults: `surrogate` where passages show half characters, which the items keep, as U+FFFD.
    """

    passages: tuple[Passage, ...]
    items: tuple[Any, ...] = field(repr=False)
    rebuild: Callable[[Sequence[Any]], Any] = field(repr=False)
    faults: tuple[Fault, ...] = ()

    def reordered(self, positions: Sequence[int]) -> Any:
        """A new result with the items at these positions, in this order."""
        return self.rebuild([self.items[position] for position in positions])


def find_list(result: object, query: str = "") -> ResultList | None:
    """The list of two items or more in a result; None if there is none, or more than one.

    A heading that the list begins with stays in front and is not one of its items; it may hold
    the query.

    It may be a list or tuple; a mapping, model or dataclass around one; JSON or JSON Lines of
    these; text with entries, numbered or otherwise marked; or content blocks as in MCP. None for
    prose, and for what cannot be read or rebuilt: nothing is raised.
    """
    try:
        found = _in_text(result) if isinstance(result, str) else _find(result)
        if found and begins_with_heading(found.items, query):
            found = _without_heading(found)
        if found:
            found.reordered(range(len(found.items)))  # fail here rather than after the ranking
    except Exception:  # foreign objects may raise anything
        return None
    return found


def _without_heading(found: ResultList) -> ResultList | None:
    """The list without its first item, which every rebuilt result begins with."""
    if len(found.items) < 3:
        return None
    heading, *items = found.items
    passages = (replace(one, id=str(n)) for n, one in enumerate(found.passages[1:], 1))
    rebuild: Callable[[Sequence[Any]], Any] = lambda chosen: found.rebuild([heading, *chosen])  # noqa: E731
    return replace(found, passages=tuple(passages), items=tuple(items), rebuild=rebuild)


def _find(value: Any, levels: int = _LEVELS, named: bool = True) -> ResultList | None:
    if type(value) in (list, tuple):  # a subclass has a form that we do not know
        return _rows(value, named)
    return _in_fields(value, levels) if levels else None


def _rows(rows: list[Any] | tuple[Any, ...], named: bool) -> ResultList | None:
    """The list itself; without a known name, its items must be records with a text."""
    form: Callable[[Sequence[Any]], Any] = type(rows)
    if inner := _in_block(rows, form):
        return inner
    bare = [_without_score(row) for row in rows]
    strings = [isinstance(one, str) for one in bare]
    mixed = any(strings[1:]) or (len(rows) == 2 and any(strings))  # the first may be a heading
    if len(rows) < 2 or (mixed and not (named and all(strings))):
        return None
    if not all(isinstance(one, str) or parts_of(one) for one in bare):
        return None
    texts = [text_of(one) for one in bare]
    if named and not any(map(is_block, bare)):
        texts = [text or fields_of(one) for text, one in zip(texts, bare, strict=True)]
    if not all(texts):
        return None
    shown = [(text, title_of(one), place_of(one)) for text, one in zip(texts, bare, strict=True)]
    whole = [tuple(map(whole_characters, texts)) for texts in shown]
    passages = (
        Passage(str(number), text, title=title, place=place)
        for number, (text, title, place) in enumerate(whole, 1)
    )
    return ResultList(tuple(passages), tuple(rows), form, () if whole == shown else _HALVED)


def _in_block(rows: Sequence[Any], form: Callable[[Sequence[Any]], Any]) -> ResultList | None:
    """The list in the only text block, or in the only one that holds JSON."""
    if not all(map(is_block, rows)):
        return None
    blocks = [at for at, row in enumerate(rows) if len(rows) == 1 or _is_json(get(row, "text"))]
    inner = _in_text(get(rows[blocks[0]], "text")) if len(blocks) == 1 else None
    if inner is None:
        return None
    at, rebuild = blocks[0], inner.rebuild

    def form_again(items: Sequence[Any]) -> Any:
        return form([*rows[:at], put(rows[at], "text", rebuild(items)), *rows[at + 1 :]])

    return replace(inner, rebuild=form_again)


def _in_fields(container: object, levels: int) -> ResultList | None:
    """The only list in a mapping or object, or the one named as results."""
    parts = parts_of(container)
    each = {key: _in_field(key, value, levels - 1) for key, value in parts.items()}
    found = {key: one for key, one in each.items() if one}
    names = [name for name in LIST_NAMES if name in found] or list(found)
    if not names or (len(names) > 1 and names[0] not in LIST_NAMES):
        return None
    key, inner = names[0], found[names[0]]
    if any(_parallel(inner.items, other) for name, other in parts.items() if name != key):
        return None
    return replace(inner, rebuild=lambda items: put(container, key, inner.rebuild(items)))


def _in_field(key: Any, value: Any, levels: int) -> ResultList | None:
    """The list in a field; text is read only in a field named as results."""
    if isinstance(value, str):
        return _in_text(value) if key in (*LIST_NAMES, "content") else None
    return _find(value, levels, key in LIST_NAMES)


def _parallel(items: Collection[Any], other: object) -> bool:
    """Whether another list is parallel to the items, as Chroma's ids are to its documents.

    Lists of records are not parallel, nor are strings (say, links to pictures) beside records.
    """
    if not isinstance(other, Collection) or isinstance(other, str | bytes | Mapping):
        return False
    independent = all(map(parts_of, items)) and all(
        isinstance(o, str) or parts_of(o) for o in other
    )
    return len(other) == len(items) and not independent


def _in_text(text: str) -> ResultList | None:
    """A list in JSON, in JSON Lines of objects, or in a text list."""
    try:
        data = json.loads(text)
    except ValueError:
        return _in_json_lines(text) or _in_text_list(text)
    if (inner := _find(data)) is None:
        return None
    indented = re.match(r"\s*[\[{]\r?\n([ \t]+)", text)
    compact = not indented and not re.search('"[:,] ', text)

    def rebuild(items: Sequence[Any]) -> str:
        indent, separators = indented and indented[1], (",", ":") if compact else None
        dump = partial(json.dumps, inner.rebuild(items), indent=indent, separators=separators)
        dumped = dump(ensure_ascii=False)
        # a lone surrogate stays an escape: UTF-8 cannot hold it
        return dumped if dumped == whole_characters(dumped) else dump()

    return replace(inner, rebuild=rebuild)


def _is_json(text: str) -> bool:
    return text.lstrip().startswith(("[", "{"))


def _in_json_lines(text: str) -> ResultList | None:
    lines = [line for line in text.split("\n") if line.strip()]
    try:
        values = [json.loads(line) for line in lines]
    except ValueError:
        return None
    inner = _rows(values, named=True) if all(isinstance(one, dict) for one in values) else None
    end = "\n" if text.endswith("\n") else ""
    return inner and replace(
        inner, items=tuple(lines), rebuild=lambda items: "\n".join(items) + end
    )


def _in_text_list(text: str) -> ResultList | None:
    if (found := find_text_list(text)) is None:
        return None
    inner = _rows(found.entries, named=True)
    return inner and replace(inner, rebuild=found.with_entries)


def _without_score(row: Any) -> Any:
    """The item of an (item, score) pair; anything else unchanged."""
    pair = isinstance(row, list | tuple) and len(row) == 2 and isinstance(row[1], Real)
    return row[0] if pair else row
