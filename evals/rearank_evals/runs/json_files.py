"""JSON files, and whether they say what they must."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from rearank_agent.errors import InputError
from rearank_agent.files import write_text

__all__ = ["claim", "read_json"]


def claim(path: Path, values: Mapping[str, Any], free: Collection[str] = ()) -> None:
    """Write these values, or find that they are what was written before.

    Args:
        path: of the file.
        values: may be nested.
        free: the names of values that may differ.

    Raises:
        InputError: other values stand there; the message says which.
        SetupError: the file cannot be written.
    """
    if not path.exists():
        write_text(path, json.dumps(values, indent=2, ensure_ascii=False) + "\n")
        return
    begun, now = _flat(read_json(path)), _flat(values)
    keys = [key for key in dict.fromkeys([*begun, *now]) if begun.get(key) != now.get(key)]
    if keys := [key for key in keys if key not in free]:
        odd = "; ".join(_differs(key, begun.get(key), now.get(key)) for key in keys)
        raise InputError(
            f"{path.parent} holds a run of something else: {odd}. "
            "Give another --out, or delete that folder"
        )


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object of a file.

    Raises:
        InputError: it cannot be read.
    """
    try:
        found = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise InputError(f"{path} is damaged: {error}") from None
    if not isinstance(found, dict):
        raise InputError(f"{path} is damaged: not a JSON object")
    return found


def _differs(key: str, was: object, now: object) -> str:
    """What was and what is; of long strings only the words that are not in both."""
    if isinstance(was, str) and isinstance(now, str):
        old, new = was.split(" "), now.split(" ")
        was = " ".join(word for word in old if word not in new) or was
        now = " ".join(word for word in new if word not in old) or now
    if "hash" in key:
        was, now = f"{was}"[:8], f"{now}"[:8]
    return f"{key} was {was!r} and is {now!r}"


def _flat(values: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Nested values by dotted names."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{above}{name}.")
        else:
            flat[f"{above}{name}"] = value
    return flat
