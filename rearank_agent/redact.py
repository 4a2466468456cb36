"""What must not be told: keys, tokens and passwords, wherever a text came from."""

from __future__ import annotations

import os
import re

__all__ = ["add_secret", "redact"]

_NAMES = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD)$")
_LOGIN = re.compile(r"(?<=://)[^/@\s]+@")
_QUERY = re.compile(
    r"(?<=[?&])([^=&\s]*(?:key|token|secret|password)[^=&\s]*)=[^&\s]+", re.IGNORECASE
)
_SHORTEST = 4
_told: set[str] = set()


def add_secret(value: str) -> None:
    """Strike this value out of all texts from now on."""
    _told.add(value)


def redact(text: str) -> str:
    """The text without logins in URLs, keys in queries, and the values of secret variables.

    Secret is what `add_secret` was told, and every environment variable whose name ends in
    KEY, TOKEN, SECRET or PASSWORD.
    """
    secret = {value for name, value in os.environ.items() if _NAMES.search(name)} | _told
    for value in sorted({v.strip() for v in secret}, key=len, reverse=True):
        if len(value) >= _SHORTEST:
            text = text.replace(value, "***")
    return _QUERY.sub(r"\1=***", _LOGIN.sub("***@", text))
