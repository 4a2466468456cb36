"""The text, the title and the place of a record of unknown shape."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import is_dataclass, replace
from typing import Any

__all__ = [
    "LIST_NAMES", "fields_of", "get", "is_block", "parts_of", "place_of", "put", "text_of",
    "title_of",
]  # fmt: skip

LIST_NAMES = (
    "results", "result", "documents", "docs", "hits", "passages", "items", "matches", "data",
    "chunks", "organic", "root", "entities", "nodes",
)  # fmt: skip
"""Names that say that a field holds the results, the surest first."""

_WRAPPERS = ("_source", "payload", "node", "entity", "resource", "metadata")
_TEXT = (
    "text", "content", "page_content", "snippet", "body", "passage", "chunk", "document",
    "description", "summary", "abstract", "excerpt", "markdown", "raw_content", "observations",
    *_WRAPPERS,
)  # fmt: skip
_TITLE = ("title", "name", "heading")
_PLACE = ("url", "uri", "link", "path", "source", "file", "place", "id")
_MAX_FIELDS = 4_000  # characters of an item without a known text field


def parts_of(value: object) -> Mapping[Any, Any]:
    """The public fields of a mapping or object; empty for anything else."""
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
    """A field of a mapping or object; None where it is missing."""
    return value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)


def is_block(item: object) -> bool:
    """Whether an item is a text block, as in MCP."""
    return get(item, "type") == "text" and isinstance(get(item, "text"), str)


def put(container: Any, key: Any, value: object) -> Any:
    """A copy of a mapping, model or dataclass with a new value at the key."""
    if hasattr(type(container), "model_copy"):
        return container.model_copy(update={key: value})
    if is_dataclass(container) and not isinstance(container, type):
        return replace(container, **{key: value})
    copied = copy(container)
    copied[key] = value
    return copied


def text_of(value: Any, depth: int = 3) -> str:
    """A string itself, the texts of a list, or the first known text field of an item."""
    if isinstance(value, str):
        return value if value.strip() else ""
    if value is None or not depth:
        return ""
    if type(value) in (list, tuple):
        return "\n".join(filter(None, (text_of(one, depth - 1) for one in value)))
    return next(filter(None, (text_of(get(value, name), depth - 1) for name in _TEXT)), "")


def title_of(item: object) -> str:
    """The title of an item; "" if it has none."""
    return _label(item, _TITLE)


def place_of(item: object) -> str:
    """The place or id of an item; "" if it has none."""
    return _label(item, _PLACE)


def _label(item: object, names: Sequence[str]) -> str:
    """The first of these fields in an item, or in the field that holds its text or metadata."""
    holders = [item, *(get(item, name) for name in ("document", "content", *_WRAPPERS))]
    values = (get(holder, name) for name in names for holder in holders)
    labels = (str(value) for value in values if isinstance(value, str | int))
    return next((label for label in labels if label.strip()), "")


def fields_of(item: object) -> str:
    """An item without a known text field, as lines of `name: value`."""
    parts = dict(parts_of(item))
    if any(isinstance(value, bytes) for value in parts.values()):
        return ""
    lines = (f"{name}: {_value(value)}" for name, value in parts.items())
    return "\n".join(lines)[:_MAX_FIELDS]


def _value(value: object) -> str:
    if isinstance(value, str):
        return value
    compact = (",", ":")
    return json.dumps(value, ensure_ascii=False, separators=compact, default=str, skipkeys=True)
