"""The list in a tool's result, whatever form it came in, and the same form with another order.

found = listlike(result)  # None: there is no list, or it is not clear which
better = found.arranged([2, 0])  # the third item and the first, in the form of the result
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, is_dataclass, replace
from numbers import Real
from typing import Any

from rearank_agent.passage import Passage, check_text

__all__ = ["Listlike", "few", "listlike"]

_LISTS = (
    "results", "result", "documents", "docs", "hits", "passages", "items", "matches", "data",
    "chunks", "organic", "root", "entities", "nodes",
)  # fmt: skip
_LEVELS = 2  # {"hits": {"hits": [...]}}
_WRAPS = ("_source", "payload", "node", "entity", "resource", "metadata")
_TEXT = (
    "text", "content", "page_content", "snippet", "body", "passage", "chunk", "document",
    "description", "summary", "abstract", "excerpt", "markdown", "raw_content", "observations",
    *_WRAPS,
)  # fmt: skip
_TITLE = ("title", "name", "heading")
_PLACE = ("url", "uri", "link", "path", "source", "file", "place", "id")
_MOST_FIELDS = 4_000  # characters of an item that has no text we know of


@dataclass(frozen=True)
class Listlike:
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


def listlike(result: object) -> Listlike | None:
    """The list of two items or more in a result; None if there is none, or not just one.

    It may be a list or tuple; a mapping, model or dataclass around one; JSON or JSON Lines of
    these; or content blocks as MCP has them. Prose is no list, and what cannot be read or put
    together again is none either: nothing is raised.
    """
    try:
        found = _written(result) if isinstance(result, str) else _found(result)
        if found:
            found.arranged(range(len(found.items)))  # to fail now, not when it is ranked
    except Exception:  # foreign objects may raise anything
        return None
    return found


def few(value: object) -> bool:
    """Whether there is nothing to put in order: a list, or one in a mapping, of one or none.

    A list of one list, as Chroma has them, is no such thing.
    """
    lists = value.values() if isinstance(value, Mapping) else [value]
    return any(
        isinstance(one, list | tuple) and len(one) < 2 and not any(map(_is_list, one))
        for one in lists
    )


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple)


def _found(value: Any, levels: int = _LEVELS, named: bool = True) -> Listlike | None:
    if type(value) in (list, tuple):  # what is more than these has a form that we do not know
        return _rows(value, named)
    return _held(value, levels) if levels else None


def _rows(rows: list[Any] | tuple[Any, ...], named: bool) -> Listlike | None:
    """The list itself. Without a name we know, it must be records that have a text."""
    form: Callable[[Sequence[Any]], Any] = type(rows)
    if len(rows) == 1 and _is_block(rows[0]):
        inner = _written(_get(rows[0], "text"))
        return inner and replace(
            inner, back=lambda items: form([_put(rows[0], "text", inner.back(items))])
        )
    bare = [_without_score(row) for row in rows]
    strings = [isinstance(one, str) for one in bare]
    if len(rows) < 2 or (any(strings) and not (named and all(strings))):
        return None
    if not all(isinstance(one, str) or _parts(one) for one in bare):
        return None
    texts = [_text(one) for one in bare]
    if named and not any(map(_is_block, bare)):
        texts = [text or _fields(one) for text, one in zip(texts, bare, strict=True)]
    if not all(texts):
        return None
    passages = (
        Passage(str(number), text, title=_label(one, _TITLE), place=_label(one, _PLACE))
        for number, (text, one) in enumerate(zip(texts, bare, strict=True), 1)
    )
    return Listlike(tuple(passages), tuple(rows), form)


def _held(whole: object, levels: int) -> Listlike | None:
    """The one list in a mapping or object, or the one whose name says that it is the results."""
    parts = _parts(whole)
    each = {key: _found(value, levels - 1, key in _LISTS) for key, value in parts.items()}
    found = {key: one for key, one in each.items() if one}
    names = [name for name in _LISTS if name in found] or list(found)
    if not names or (len(names) > 1 and names[0] not in _LISTS):
        return None
    key, inner = names[0], found[names[0]]
    if any(_parallel(inner.items, other) for name, other in parts.items() if name != key):
        return None
    return replace(inner, back=lambda items: _put(whole, key, inner.back(items)))


def _parallel(items: Collection[Any], other: object) -> bool:
    """Whether another list goes with the items place by place, as Chroma's ids and documents.

    Records stand alone, and so do strings (say, links to pictures) beside records.
    """
    if not isinstance(other, Collection) or isinstance(other, str | bytes | Mapping):
        return False
    alone = all(map(_parts, items)) and all(isinstance(o, str) or _parts(o) for o in other)
    return len(other) == len(items) and not alone


def _written(text: str) -> Listlike | None:
    """A list in JSON, or JSON Lines of objects."""
    if not text.lstrip().startswith(("[", "{")):
        return None
    try:
        data = json.loads(text)
    except ValueError:
        return _lines(text)
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


def _lines(text: str) -> Listlike | None:
    lines = [line for line in text.split("\n") if line.strip()]
    values = [json.loads(line) for line in lines]
    inner = _rows(values, named=True) if all(isinstance(one, dict) for one in values) else None
    end = "\n" if text.endswith("\n") else ""
    return inner and replace(inner, items=tuple(lines), back=lambda items: "\n".join(items) + end)


def _parts(value: object) -> Mapping[Any, Any]:
    """The public fields of a mapping or object; nothing for what has none."""
    if isinstance(value, Mapping):
        return value
    if isinstance(value, type | str):
        return {}
    names = [*getattr(value, "__dict__", ()), *getattr(value, "_fields", ())]
    for kind in type(value).__mro__:
        names += vars(kind).get("__slots__", ())
    names = [name for name in names if not name.startswith("_") and hasattr(value, name)]
    return {name: getattr(value, name) for name in names}


def _get(value: object, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)


def _put(whole: Any, key: Any, value: object) -> Any:
    """A copy of a mapping, model or dataclass with another value at the key."""
    if hasattr(type(whole), "model_copy"):
        return whole.model_copy(update={key: value})
    if is_dataclass(whole) and not isinstance(whole, type):
        return replace(whole, **{key: value})
    twin = copy(whole)
    twin[key] = value
    return twin


def _without_score(row: Any) -> Any:
    """The item of a pair of item and score; anything else as it is."""
    pair = isinstance(row, list | tuple) and len(row) == 2 and isinstance(row[1], Real)
    return row[0] if pair else row


def _is_block(item: object) -> bool:
    return _get(item, "type") == "text" and isinstance(_get(item, "text"), str)


def _text(value: Any, depth: int = 3) -> str:
    """A text itself, the texts of a list, or the first field of an item that has one."""
    if isinstance(value, str):
        return value if value.strip() else ""
    if value is None or not depth:
        return ""
    if type(value) in (list, tuple):
        return "\n".join(filter(None, (_text(one, depth - 1) for one in value)))
    return next(filter(None, (_text(_get(value, name), depth - 1) for name in _TEXT)), "")


def _label(item: object, names: Sequence[str]) -> str:
    """The first of these fields that an item has, or what holds its text or metadata has."""
    holders = [item, *(_get(item, name) for name in ("document", "content", *_WRAPS))]
    values = (_get(holder, name) for name in names for holder in holders)
    labels = (str(value) for value in values if isinstance(value, str | int))
    return next((label for label in labels if label.strip()), "")


def _fields(item: object) -> str:
    """An item whose text has no name we know, as lines of `name: value`."""
    parts = dict(_parts(item))
    if any(isinstance(value, bytes) for value in parts.values()):
        return ""
    lines = (f"{name}: {_value(value)}" for name, value in parts.items())
    return "\n".join(lines)[:_MOST_FIELDS]


def _value(value: object) -> str:
    if isinstance(value, str):
        return value
    compact = (",", ":")
    return json.dumps(value, ensure_ascii=False, separators=compact, default=str, skipkeys=True)
