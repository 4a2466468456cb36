"""Text and JSON that can be written again unchanged; Python reads more than that."""

from __future__ import annotations

import json
import math
import re
from decimal import Decimal, InvalidOperation
from typing import Any

from rearank_agent.errors import InputError, shown

__all__ = ["MAX_DEPTH", "check_text", "parse_json"]

_DIGITS = 20
"""More significant digits than any program needs to keep a double; what is beyond is lost."""
MAX_DEPTH = 100
"""Levels of lists and objects: of 200 that pydantic reads, a ranking around them takes some."""
_DEEP = f"it is nested too deep: {MAX_DEPTH} levels are read"
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text that can be written as JSON again, unchanged.

    Raises:
        ValueError: it is no JSON, or only Python takes it for some: NaN, infinities, half a
            character (a lone surrogate), a number with more digits than it can keep, or more
            than `MAX_DEPTH` levels. Or bytes are not UTF-8.
    """
    text = text if isinstance(text, str) else text.decode("utf-8-sig")
    try:
        value = json.loads(text, parse_constant=_no_json, parse_float=_float)
    except RecursionError:
        raise ValueError(_DEEP) from None
    if text.count("[") + text.count("{") > MAX_DEPTH:
        _check_depth(value)
    try:
        (json.dumps(value, ensure_ascii=False) if _SURROGATE.search(text) else text).encode()
    except UnicodeEncodeError:
        raise ValueError("it holds half a character (a lone surrogate)") from None
    return value


def check_text(text: object, what: str) -> None:
    """Raise InputError unless `text` is a string that can be written as UTF-8."""
    if not isinstance(text, str):
        raise InputError(f"{what} must be a string, not {type(text).__name__}: {shown(text)}")
    if text.isascii():  # quick, and so are most texts
        return
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InputError(f"{what} holds half a character (a lone surrogate)") from None


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        inner = (
            one for each in level for one in (each.values() if isinstance(each, dict) else each)
        )
        level = [one for one in inner if isinstance(one, dict | list)]
    if level:
        raise ValueError(_DEEP)


def _no_json(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text:.40} is too large")
    try:
        kept = len(text) <= _DIGITS or Decimal(text) == Decimal(repr(value))
    except InvalidOperation:  # an exponent of twenty digits
        kept = False
    if not kept:
        raise ValueError(f"{text:.40} has more digits than can be kept")
    return value
