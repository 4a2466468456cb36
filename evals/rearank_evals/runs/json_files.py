"""Reading JSON files, and checking one against the values it should hold."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from rearank_agent.errors import InputError
from rearank_agent.files import write_error, write_text

__all__ = ["read_json", "write_or_check"]


def write_or_check(path: Path, values: Mapping[str, Any], ignore: Collection[str] = ()) -> None:
    """Write these values; if the file exists, check that it holds the same ones.

    Args:
        path: of the file.
        values: to write, nested or not.
        ignore: dotted names of values that may differ.

    Raises:
        InputError: the file holds other values; the message says which.
        SetupError: the file cannot be written.
    """
    try:
        there = path.exists()
    except OSError as error:
        raise write_error(path, error) from None
    if not there:
        write_text(path, json.dumps(values, indent=2, ensure_ascii=False) + "\n")
        return
    old, new = _flat(read_json(path)), _flat(values)
    keys = [key for key in dict.fromkeys([*old, *new]) if old.get(key) != new.get(key)]
    if keys := [key for key in keys if key not in ignore]:
        differences = "; ".join(_difference(key, old.get(key), new.get(key)) for key in keys)
        raise InputError(
            f"{path.parent} holds another run: {differences}. "
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


def _difference(key: str, was: object, now: object) -> str:
    """The old and the new value; of long strings only the words that are not in both."""
    if isinstance(was, str) and isinstance(now, str):
        old, new = was.split(" "), now.split(" ")
        was = " ".join(word for word in old if word not in new) or was
        now = " ".join(word for word in new if word not in old) or now
    if "hash" in key:
        was, now = f"{was}"[:8], f"{now}"[:8]
    return f"{key} was {was!r} and is {now!r}"


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values under dotted names."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat
