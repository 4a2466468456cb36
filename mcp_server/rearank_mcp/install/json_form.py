"""Servers in a host's file of JSON."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["entry_text", "parse", "with_entry"]


def parse(text: str) -> dict[str, Any]:
    """The file as an object.

    Raises:
        ValueError: it is none, or something would be lost: comments, a key that is there twice.
    """
    try:
        config = json.loads(text, object_pairs_hook=_object) if text.strip() else {}
        _dump(config)  # fails here, not when it is written
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is not valid JSON: {error}") from None
    if not isinstance(config, dict):
        raise ValueError("is not a JSON object: line 1 column 1")
    return config


def with_entry(text: str, key: str, name: str, entry: dict[str, Any] | None) -> str:
    """The file's text with the entry set, or removed (None); all else stays."""
    config = parse(text)
    servers = config.setdefault(key, {})
    servers.pop(name, None) if entry is None else servers.update({name: entry})
    return f"{_dump(config)}\n"


def entry_text(key: str, name: str, entry: dict[str, Any]) -> str:
    """The entry inside the objects that are around it in the file."""
    return _dump({key: {name: entry}})


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r:.60} is there twice")
    return made


def _dump(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
