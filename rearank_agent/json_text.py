"""JSON that can be written again unchanged; Python reads more than that."""

from __future__ import annotations

import json
import math
import re
from decimal import Decimal
from typing import Any

__all__ = ["parse_json"]

_DIGITS = 20
"""More significant digits than any program needs to keep a double; what is beyond is lost."""
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text that can be written as JSON again, unchanged.

    Raises:
        ValueError: it is no JSON, or only Python takes it for some: NaN, infinities, half a
            character (a lone surrogate), a number with more digits than it can keep, or nested
            so deep that it cannot be read.
    """
    try:
        value = json.loads(text, parse_constant=_no_json, parse_float=_float)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    if _SURROGATE.search(text if isinstance(text, str) else text.decode(errors="replace")):
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError("it holds half a character (a lone surrogate)") from None
    return value


def _no_json(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text:.40} is too large")
    if len(text) > _DIGITS and Decimal(text) != Decimal(repr(value)):
        raise ValueError(f"{text:.40} has more digits than can be kept")
    return value
