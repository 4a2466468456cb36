"""The tokens that files are searched by: words, and identifiers as a whole."""

from __future__ import annotations

import re

from rearank_agent.text import QueryTerms, content_tokens

__all__ = ["names_identifier", "query_tokens", "text_tokens"]

_WEIGHT = 3
"""How often an identifier counts in a query that asks for it, and not for what is alike."""
_MAX_WORDS = 12
"""Of a query that asks for an identifier; a longer one only mentions it."""

# Versions, underscored names, codes, dates, addresses. `text.identifiers` knows more forms, and
# takes as long as all the rest of making an index. Dots alone are no sign: "end.Next", "i.e".
_IDENTIFIER = re.compile(r"[a-z0-9]+(?:[._/@+:-]+[a-z0-9]+)+")
_LOOKS_CHOSEN = re.compile(r"[0-9_]")
_JOINT = re.compile(r"[._/@+:-]+")


def text_tokens(text: str) -> list[str]:
    """The tokens of a text; 2.4.1 gives the words 2, 4 and 1 and, beside them, itself."""
    return [*content_tokens(text), *_identifiers(text)]


def query_tokens(query: str) -> list[str]:
    """The tokens of a query, each word once."""
    weight = _WEIGHT if names_identifier(query) else 1
    return [*QueryTerms.of(query).tokens, *weight * list(dict.fromkeys(_identifiers(query)))]


def names_identifier(query: str) -> bool:
    """Whether the query asks for an identifier of several parts."""
    return bool(_identifiers(query)) and len(QueryTerms.of(query).tokens) <= _MAX_WORDS


def _identifiers(text: str) -> list[str]:
    """Identifiers of several parts: by words alone, others of the same parts are as near."""
    found = (name for name in _IDENTIFIER.findall(text.lower()) if _LOOKS_CHOSEN.search(name))
    return [".".join(_JOINT.split(_without_v(name))) for name in found]


def _without_v(name: str) -> str:
    """v2.0.1 is 2.0.1."""
    return name[1:] if name[0] == "v" and name[1:2].isdigit() else name
