"""Queries that training and dev collections share: they are left out, or too many."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from unicodedata import normalize

from rearank_agent.data.collection import Collection
from rearank_agent.errors import InputError

__all__ = ["MAX_SHARED", "normalized_query", "shared_queries"]

MAX_SHARED = 0.05
"""The largest share of a collection's queries that may be in dev collections too."""


def shared_queries(
    collections: Sequence[Collection], dev: Sequence[Collection]
) -> Mapping[str, frozenset[str]]:
    """The ids of the queries of every collection that are in a dev collection too.

    Raises:
        InputError: they are more than 5% of a collection's.
    """
    where = {normalized_query(text): one.name for one in dev for text in one.queries.values()}
    held, over = {}, []
    for one in collections:
        found = {query: where.get(normalized_query(text)) for query, text in one.queries.items()}
        shared = {query: name for query, name in found.items() if name is not None}
        held[one.name] = frozenset(shared)
        if len(shared) > MAX_SHARED * len(found):
            places = ", ".join(f"{n:,} in {name}" for name, n in Counter(shared.values()).items())
            over.append(f"{one.name}, {len(shared):,} of {len(found):,} ({places})")
    if over:
        raise InputError(
            f"more than {MAX_SHARED:.0%} of the queries are in dev collections too: "
            f"{'; '.join(over)}; use different collections for training and dev"
        )
    return held


def normalized_query(text: str) -> str:
    """The query's words alone, case-folded; a text without words is case-folded and stripped."""
    plain = normalize("NFKC", text).casefold()
    return " ".join(re.findall(r"\w+", plain)) or plain.strip()
