"""Limits on JSON that are checked before it is parsed."""

from __future__ import annotations

import re
from itertools import islice
from typing import AnyStr

from rearank_agent.errors import InputError

__all__ = ["MAX_VALUES", "check_values"]

MAX_VALUES = 50_000
"""Values and containers of one message: a thousand passages with their fields have far fewer."""

# Up to what separates or opens a value, strings skipped; one that is not closed takes all the rest.
_PARTS = r'(?:[^",\[{]++|"(?:[^"\\]++|\\.)*+(?:"|\\?\Z))*+([,\[{]|\Z)'
_TEXT = re.compile(_PARTS, re.DOTALL)
_BYTES = re.compile(_PARTS.encode(), re.DOTALL)


def check_values(message: AnyStr) -> None:
    """Refuse a message of very many values, which would take seconds and gigabytes to parse.

    Its strings are skipped; it is read up to the value that is one too many.

    Raises:
        InputError: it has more than `MAX_VALUES`.
    """
    if isinstance(message, bytes):
        pattern, separators = (
            _BYTES,
            message.count(b",") + message.count(b"[") + message.count(b"{"),
        )
    else:
        pattern, separators = _TEXT, message.count(",") + message.count("[") + message.count("{")
    if separators < MAX_VALUES:
        return
    last = next(islice(pattern.finditer(message), MAX_VALUES - 1, None), None)
    if last and last[1]:
        raise InputError(
            f"the request has {MAX_VALUES:,} values or more: at most 1,000 passages are ranked in "
            "one request"
        )
