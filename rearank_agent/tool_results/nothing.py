"""Whether a tool's result holds nothing to rank: one item, or none."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from rearank_agent.tool_results.fields import LIST_NAMES, get, is_block, text_of
from rearank_agent.tool_results.headings import begins_with_heading
from rearank_agent.tool_results.text_list import is_single

__all__ = ["too_few"]

_LEVELS = 6


def too_few(value: object, query: str = "", levels: int = _LEVELS) -> bool:
    """Whether there is nothing to rank: one item or none, with or without a heading.

    In a mapping, of the list whose name says that it holds the results, else of all lists. Of a
    text, whether it is one line ("No results found.") or one entry. A list of one list, as in
    Chroma, does not count as one item.
    """
    if not levels:
        return False
    if isinstance(value, str):
        return _few_in_text(value, query, levels)
    if isinstance(value, list | tuple):
        items = value[1:] if begins_with_heading(value, query) else value
        if len(items) != 1:
            return not items
        if is_block(items[0]):
            return too_few(get(items[0], "text"), query, levels - 1)
        return not isinstance(items[0], list | tuple)
    if not isinstance(value, Mapping):
        return False
    parts = {name: one for name, one in value.items() if _may_hold_items(name, one)}
    results = next((parts[name] for name in LIST_NAMES if name in parts), None)
    chosen = parts.values() if results is None else [results]
    if not chosen:
        return bool(text_of(value))  # it is the item
    return all(too_few(one, query, levels - 1) for one in chosen)


def _may_hold_items(name: Any, value: object) -> bool:
    is_text = isinstance(value, str) and name in (*LIST_NAMES, "content")
    return is_text or isinstance(value, list | tuple | Mapping)


def _few_in_text(text: str, query: str, levels: int) -> bool:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return is_single(text)
    return not isinstance(value, list | dict) or too_few(value, query, levels - 1)
