"""Redaction of keys, tokens and passwords from any text, in whatever form it repeats them."""

from __future__ import annotations

import os
import re
from base64 import b64encode
from functools import lru_cache
from urllib.parse import unquote, urlsplit

__all__ = ["add_login", "add_secret", "redact"]

_NAMES = ("KEY", "TOKEN", "SECRET", "PASSWORD")
_LOGIN = re.compile(r"(?<=://)[^/?#\s]+@")
_QUERY = re.compile(
    r"(?<=[?&])([^=&?\s]{0,64}(?:key|token|secret|password)[^=&?\s]{0,64})=[^&\s]+",
    re.IGNORECASE,
)
_MIN_LENGTH = 4
"""A shorter value is no secret, and is in many words: it is struck out behind `Bearer` alone."""
_UNRESERVED = re.compile(r"[A-Za-z0-9._~-]")  # nothing encodes them
_ENTITIES = {'"': "quot", "&": "amp", "<": "lt", ">": "gt"}
_BASE64 = {"+": r"(?:[+-]|%2[Bb])", "/": r"(?:\\?/|_|%2[Ff])"}
"""The characters of base64 that have other forms: in addresses, and percent-encoded."""
_added: set[str] = set()


def add_secret(value: str) -> None:
    """Redact this value from every text from now on."""
    _added.add(value)


def add_login(url: str) -> None:
    """Redact the login in this address, however it is written, in every text from now on."""
    login = unquote(urlsplit(url).netloc.rpartition("@")[0])
    add_secret(login)
    add_secret(login.partition(":")[2])


def redact(text: str) -> str:
    """The text without logins in URLs, keys in queries, and the values of secret variables.

    Secret is every value given to `add_secret`, and every environment variable whose name ends in
    KEY, TOKEN, SECRET or PASSWORD. Each is struck out as it is, percent-encoded, with the escapes
    of JSON, Python and HTML, and in base64, also where more is encoded with it, as in the header
    of basic authentication.
    """
    secret = {os.environ[name] for name in os.environ if name.endswith(_NAMES)} | _added
    if secret:
        text = _pattern(frozenset(secret)).sub("***", text)
    return _QUERY.sub(r"\1=***", _LOGIN.sub("***@", text))


@lru_cache(maxsize=16)
def _pattern(secret: frozenset[str]) -> re.Pattern[str]:
    """Finds the values in any of their forms, the longest first."""
    values = sorted({value.strip() for value in secret} - {""}, key=len, reverse=True)
    forms = [form for value in values for form in _forms(value)]
    return re.compile("|".join(forms) or r"(?!)")


def _forms(value: str) -> list[str]:
    written = "".join(map(_written, value))
    if len(value) < _MIN_LENGTH:
        return [rf"(?<=[Bb]earer ){written}(?!\w)"]
    return [written, *_in_base64(value.encode(errors="replace"))]


def _written(character: str) -> str:
    """The forms of a character in a text."""
    if _UNRESERVED.match(character):
        return re.escape(character)
    code = ord(character)
    data = character.encode(errors="replace")
    units = character.encode("utf-16-be", errors="replace").hex()
    forms = [
        rf"\\{{0,4}}{re.escape(character)}",
        "".join(f"%{byte:02x}" for byte in data),
        "".join(rf"\\{{1,4}}u{units[at : at + 4]}" for at in range(0, len(units), 4)),
        "".join(rf"\\{{1,4}}x{byte:02x}" for byte in data),
        rf"&#(?:{code}|x0*{code:x});",
    ]
    if name := _ENTITIES.get(character):
        forms.append(f"&{name};")
    if character == " ":
        forms.append(r"\+")
    return f"(?i:{'|'.join(forms)})"


def _in_base64(value: bytes) -> list[str]:
    """The base64 of the value behind any number of other bytes, and whatever goes on behind it."""
    found = []
    for before in range(3):
        coded = b64encode(bytes(before) + value).decode()
        start = -(-before * 8 // 6)  # characters that depend on what is before
        end = (before + len(value)) * 8 // 6  # those behind depend on what follows
        core = "".join(_BASE64.get(c, c) for c in coded[start:end])
        found.append(rf"[\w+/-]?{core}[\w+/-]*={{0,2}}" if before else rf"{core}[\w+/-]*={{0,2}}")
    return found
