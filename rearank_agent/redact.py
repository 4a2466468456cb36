"""Redaction of keys, tokens and passwords from any text."""

from __future__ import annotations

import os
import re
from base64 import b64encode
from urllib.parse import quote, unquote, urlsplit

__all__ = ["add_login", "add_secret", "redact"]

_NAMES = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD)$")
_LOGIN = re.compile(r"(?<=://)[^/?#\s]+@")
_QUERY = re.compile(
    r"(?<=[?&])([^=&\s]*(?:key|token|secret|password)[^=&\s]*)=[^&\s]+", re.IGNORECASE
)
_MIN_LENGTH = 4
_added: set[str] = set()


def add_secret(value: str) -> None:
    """Redact this value from every text from now on."""
    _added.add(value)


def add_login(url: str) -> None:
    """Redact the login in this address, however it is written, in every text from now on."""
    login = urlsplit(url).netloc.rpartition("@")[0]
    name, _, password = login.partition(":")
    if not login:
        return
    pair = f"{unquote(name)}:{unquote(password)}"
    coded = b64encode(pair.encode()).decode()  # as the header of basic authentication has it
    for value in (login, pair, coded, coded.rstrip("="), password, unquote(password)):
        add_secret(value)
    add_secret(quote(unquote(password), safe=""))


def redact(text: str) -> str:
    """The text without logins in URLs, keys in queries, and the values of secret variables.

    Secret is every value given to `add_secret`, and every environment variable whose name ends in
    KEY, TOKEN, SECRET or PASSWORD.
    """
    secret = {value for name, value in os.environ.items() if _NAMES.search(name)} | _added
    for value in sorted({v.strip() for v in secret}, key=len, reverse=True):
        if len(value) >= _MIN_LENGTH:
            text = text.replace(value, "***")
    return _QUERY.sub(r"\1=***", _LOGIN.sub("***@", text))
