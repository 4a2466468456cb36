"""What a record of unknown shape says: its text, its title, where it comes from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import is_dataclass, replace
from typing import Any

__all__ = ["fields_of", "get", "parts_of", "place_of", "put", "text_of", "title_of"]

_WRAPS = ("_source", "payload", "node", "entity", "resource", "metadata")
_TEXT = (
    "text", "content", "page_content", "snippet", "body", "passage", "chunk", "document",
    "description", "summary", "abstract", "excerpt", "markdown", "raw_content", "observations",
    *_WRAPS,
)  # fmt: skip
_TITLE = ("title", "name", "heading")
_PLACE = ("url", "uri", "link", "path", "source", "file", "place", "id")
_MOST_FIELDS = 4_000  # characters of an item that has no text we know of


def parts_of(value: object) -> Mapping[Any, Any]:
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


def get(value: object, name: str) -> Any:
    """A field of a mapping or object; None for what it has not."""
    return value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)


def put(whole: Any, key: Any, value: object) -> Any:
    """A copy of a mapping, model or dataclass with another value at the key."""
    if hasattr(type(whole), "model_copy"):
        return whole.model_copy(update={key: value})
    if is_dataclass(whole) and not isinstance(whole, type):
        return replace(whole, **{key: value})
    twin = copy(whole)
    twin[key] = value
    return twin


def text_of(value: Any, depth: int = 3) -> str:
    """A text itself, the texts of a list, or the first field of an item that has one."""
    if isinstance(value, str):
        return value if value.strip() else ""
    if value is None or not depth:
        return ""
    if type(value) in (list, tuple):
        return "\n".join(filter(None, (text_of(one, depth - 1) for one in value)))
    return next(filter(None, (text_of(get(value, name), depth - 1) for name in _TEXT)), "")


def title_of(item: object) -> str:
    """What an item is called; "" if nothing says it."""
    return _label(item, _TITLE)


def place_of(item: object) -> str:
    """Where an item comes from, or how it is known; "" if nothing says it."""
    return _label(item, _PLACE)


def _label(item: object, names: Sequence[str]) -> str:
    """The first of these fields that an item has, or what holds its text or metadata has."""
    holders = [item, *(get(item, name) for name in ("document", "content", *_WRAPS))]
    values = (get(holder, name) for name in names for holder in holders)
    labels = (str(value) for value in values if isinstance(value, str | int))
    return next((label for label in labels if label.strip()), "")


def fields_of(item: object) -> str:
    """An item whose text has no name we know, as lines of `name: value`."""
    parts = dict(parts_of(item))
    if any(isinstance(value, bytes) for value in parts.values()):
        return ""
    lines = (f"{name}: {_value(value)}" for name, value in parts.items())
    return "\n".join(lines)[:_MOST_FIELDS]


def _value(value: object) -> str:
    if isinstance(value, str):
        return value
    compact = (",", ":")
    return json.dumps(value, ensure_ascii=False, separators=compact, default=str, skipkeys=True)
