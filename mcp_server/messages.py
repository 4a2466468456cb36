"""Messages of JSON-RPC as lines, as far as who hands them on must know them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

__all__ = ["Message", "Request", "as_object", "key_of", "read", "request_key", "written"]

Message = dict[str, Any]


@dataclass
class Request:
    """What the host asked.

    Attributes:
        message: as it came.
        since: when that was, on the clock of `perf_counter`.
        progress: how far the server said it is.
    """

    message: Message
    since: float
    progress: float = 0.0

    @property
    def method(self) -> Any:
        """What is to be done."""
        return self.message["method"]

    @property
    def params(self) -> Message:
        """With what."""
        return as_object(self.message.get("params"))

    @property
    def token(self) -> Any:
        """What its progress is told by; None if nobody wants to know."""
        return as_object(self.params.get("_meta")).get("progressToken")


def read(line: bytes) -> Any:
    """The object or list that a line is; None if it is neither."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict | list) else None


def written(message: Message) -> bytes:
    """The message as a line.

    Raises:
        ValueError: it holds a number that JSON has not.
    """
    return json.dumps({"jsonrpc": "2.0", **message}, allow_nan=False).encode()


def as_object(value: Any) -> Message:
    """The value if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def request_key(message: Message) -> Any:
    """What a request is known by; None for what is no request."""
    return key_of(message.get("id")) if "method" in message else None


def key_of(told: Any) -> Any:
    """The identifier as a key, since 1 and "1" are two; None for what cannot be one."""
    return (type(told), told) if isinstance(told, int | str) else None
