"""JSON-RPC messages as lines, decoded as far as a relay needs."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, TypeGuard

__all__ = [
    "Key", "Message", "Request", "as_object", "decode", "encode", "key_of", "messages_in",
    "progress_in", "request_key",
]  # fmt: skip

Message = dict[str, Any]
Key = tuple[type, int | float | str] | None


@dataclass
class Request:
    """A request of the host.

    Attributes:
        message: as it was received.
        received: when, on the clock of `perf_counter`.
        progress: the last progress that the server reported.
    """

    message: Message
    received: float
    progress: float = 0.0

    @property
    def method(self) -> Any:
        """The method."""
        return self.message["method"]

    @property
    def params(self) -> Message:
        """The parameters; empty if there are none."""
        return as_object(self.message.get("params"))

    @property
    def tool(self) -> Any:
        """The name of the tool that is called; None for another request."""
        name = self.params.get("name") if self.method == "tools/call" else None
        return name if isinstance(name, str) else None

    @property
    def arguments(self) -> Message:
        """The tool's arguments."""
        return as_object(self.params.get("arguments"))

    @property
    def token(self) -> Any:
        """The progress token; None if the host wants no progress."""
        return as_object(self.params.get("_meta")).get("progressToken")


def decode(line: bytes) -> Any:
    """The JSON object or list in a line; None if it is neither."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict | list) else None


def messages_in(message: Any) -> list[Message]:
    """The messages of a batch, or the single message."""
    return [one for one in (message if isinstance(message, list) else [message])
            if isinstance(one, dict)]  # fmt: skip


def encode(message: Message) -> bytes:
    """The message as a line.

    Raises:
        ValueError: it holds a number that JSON does not have.
    """
    return json.dumps({"jsonrpc": "2.0", **message}, allow_nan=False).encode()


def as_object(value: Any) -> Message:
    """The value if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def progress_in(message: Message) -> tuple[Any, float]:
    """The token and the value of a progress notification; None as token for another message."""
    params = as_object(message.get("params"))
    value = params.get("progress")
    if message.get("method") != "notifications/progress" or not _is_number(value):
        return None, 0.0
    return params.get("progressToken"), float(value)


def request_key(message: Message) -> Key:
    """The key of a request; None for another message."""
    return key_of(message.get("id")) if "method" in message else None


def key_of(identifier: Any) -> Key:
    """The identifier as a key, since 1 and "1" are two; None if it is not valid."""
    valid = isinstance(identifier, str) or _is_number(identifier)
    return (type(identifier), identifier) if valid else None


def _is_number(value: Any) -> TypeGuard[int | float]:
    """Whether it is a number that JSON has, and a double too."""
    try:
        return isinstance(value, int | float) and math.isfinite(value)
    except OverflowError:  # an integer of hundreds of digits
        return False
