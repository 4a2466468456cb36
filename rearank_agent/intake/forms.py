"""One passage from any form: a text, a dict, or the document of another library.

The libraries are not imported: their documents are known by the names of their attributes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rearank_agent.errors import InputError, shown
from rearank_agent.types import Passage

__all__ = ["to_passage"]

_TEXT = ("text", "content", "page_content")  # the first that is not None
_ID = ("id", "_id")
_FIELDS = ("title", "score", "place")
_NAMES = f'no "{_TEXT[0]}" (nor {" or ".join(_TEXT[1:])})'


def to_passage(item: object, position: str) -> Passage:
    """The passage that an item stands for.

    Args:
        item: a `Passage`; a string; a dict with `text`, `content` or `page_content`, whose
            unknown fields go to `meta`; a document of LangChain, LlamaIndex (also with its
            score) or Haystack. None in a field is the same as no field.
        position: the id of an item that has none.

    Raises:
        InputError: it is none of these, or a field cannot be used.
    """
    if isinstance(item, Passage):
        return item
    if isinstance(item, str):
        return Passage(position, item)
    return _of_dict(item, position) if isinstance(item, Mapping) else _of_object(item, position)


def _of_dict(item: Mapping[Any, Any], position: str) -> Passage:
    rest = {name: value for name, value in item.items() if value is not None or name not in _TEXT}
    text = next((name for name in _TEXT if rest.get(name) is not None), None)
    if text is None:
        raise InputError(f"it has {_NAMES}")
    content = rest.pop(text)
    names = [rest.pop(name, None) for name in _ID]
    fields = {name: rest.pop(name, None) for name in _FIELDS}
    meta = rest.pop("meta", None)
    if not isinstance(meta, Mapping | None):
        raise InputError("meta must be an object")
    return Passage(_first(*names, position), content, meta={**(meta or {}), **rest}, **fields)


def _of_object(item: object, position: str) -> Passage:
    """The passage of a document; LlamaIndex wraps it as `node`, with the score beside it."""
    document = item if (node := getattr(item, "node", None)) is None else node
    if (text := _content(document)) is None:
        raise InputError(
            "it must be a Passage, a string, a dict with a text, or a document of LangChain, "
            f"LlamaIndex or Haystack, not {type(item).__name__}: {shown(item)}"
        )
    meta = _first(_value(document, "metadata"), _value(document, "meta"), {})
    if not isinstance(meta, Mapping):
        raise InputError(f"metadata must be a mapping, not {type(meta).__name__}")
    names = [_value(document, name) for name in (*_ID, "node_id", "id_")]
    fields = {name: _value(item, name) for name in _FIELDS}
    return Passage(_first(*names, position), text, meta=meta, **fields)


def _content(document: object) -> str | None:
    """The text of a document; None if it has none that is a string."""
    get_content = getattr(document, "get_content", None)
    found = [get_content() if callable(get_content) else None]
    found += [_value(document, name) for name in _TEXT]
    return next((text for text in found if isinstance(text, str)), None)


def _value(item: object, name: str) -> Any:
    """An attribute that is no method; None where it is missing."""
    value = getattr(item, name, None)
    return None if callable(value) else value


def _first(*values: Any) -> Any:
    """The first value that is not None."""
    return next((value for value in values if value is not None), None)
