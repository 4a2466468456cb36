"""Messages of JSON-RPC as lines, as far as who hands them on must know them."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

__all__ = [
    "Key", "Message", "Request", "as_object", "decode", "encode", "key_of", "messages_in",
    "progress_in", "request_key",
]  # fmt: skip

Message = dict[str, Any]
Key = tuple[type, int | float | str] | None


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
    def tool(self) -> Any:
        """Which tool is called; None for another request."""
        return self.params.get("name") if self.method == "tools/call" else None

    @property
    def arguments(self) -> Message:
        """Of the tool."""
        return as_object(self.params.get("arguments"))

    @property
    def token(self) -> Any:
        """What its progress is told by; None if nobody wants to know."""
        return as_object(self.params.get("_meta")).get("progressToken")


def decode(line: bytes) -> Any:
    """The object or list that a line is; None if it is neither."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict | list) else None


def messages_in(message: Any) -> list[Message]:
    """The messages of a batch, or the one that is none."""
    return [one for one in (message if isinstance(message, list) else [message])
            if isinstance(one, dict)]  # fmt: skip


def encode(message: Message) -> bytes:
    """The message as a line.

    Raises:
        ValueError: it holds a number that JSON has not.
    """
    return json.dumps({"jsonrpc": "2.0", **message}, allow_nan=False).encode()


def as_object(value: Any) -> Message:
    """The value if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def progress_in(message: Message) -> tuple[Any, float]:
    """Of whom a message tells how far it is, and how far; None for what tells nothing of that."""
    params = as_object(message.get("params"))
    far = params.get("progress")
    if message.get("method") != "notifications/progress" or not isinstance(far, int | float):
        return None, 0.0
    return params.get("progressToken"), float(far) if math.isfinite(far) else 0.0


def request_key(message: Message) -> Key:
    """What a request is known by; None for what is no request."""
    return key_of(message.get("id")) if "method" in message else None


def key_of(told: Any) -> Key:
    """The identifier as a key, since 1 and "1" are two; None for what cannot be one."""
    return (type(told), told) if isinstance(told, int | float | str) else None
