"""The lists that are reranked: given ones, or BM25 over the whole corpus.

BM25 by bm25s in Lucene's form with k1 0.9 and b 0.4, as the TREC runs of the paper have it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path

import bm25s
from Stemmer import Stemmer, algorithms

from rearank_agent.data.collection import Collection, count_notes
from rearank_agent.data.trec import Run, read_run
from rearank_agent.errors import InputError, SetupError
from rearank_agent.files import write_text
from rearank_agent.policies.lexical import bm25_index, bm25_search
from rearank_agent.settings import cache_folder
from rearank_agent.text import words

__all__ = ["FirstStage", "first_stage"]

NO_STEMMING = "none"
_STOP_WORDS = (
    "danish", "dutch", "english", "french", "german", "italian", "norwegian", "portuguese",
    "russian", "spanish", "swedish", "turkish",
)  # fmt: skip


@dataclass(frozen=True)
class FirstStage:
    """The candidates of every query.

    Attributes:
        name: where they are from.
        lists: passages of every query, best first, all in the corpus.
        depth: the most of a query.
        notes: what was left out, with counts.
    """

    name: str
    lists: Run
    depth: int
    notes: tuple[str, ...] = ()

    @cached_property
    def hash(self) -> str:
        """Of all lists."""
        return sha256(
            json.dumps({q: list(ids) for q, ids in self.lists.items()}).encode()
        ).hexdigest()


def first_stage(
    collection: Collection, depth: int, *, run: Path | None = None, language: str | None = None
) -> FirstStage:
    """The candidates: of a TREC run, else the collection's own, else BM25's.

    Args:
        collection: whose queries and corpus.
        depth: the most candidates of a query.
        run: a TREC run.
        language: makes BM25's lists, even if others are there: one of PyStemmer's languages, or
            "none" for words as they stand (and pairs of letters in scripts without spaces).

    Raises:
        InputError: the run has no passage of the corpus, or there is no such language.
    """
    lists: Run
    if run:
        name, lists = run.name, read_run(run)
    elif collection.lists and not language:
        name, lists = collection.listed, collection.lists
    else:
        name, lists = (
            f"BM25, {language or 'english'}",
            _kept(collection, depth, language or "english"),
        )
    asked = {q: lists[q] for q in collection.queries if q in lists}
    barred = collection.excluded or {}
    allowed = {q: [p for p in ids if p not in barred.get(q, ())] for q, ids in asked.items()}
    known = {q: [p for p in ids if p in collection.corpus] for q, ids in allowed.items()}
    if not asked:
        raise InputError(f"{name}: none of its queries is one of {collection.name}")
    if not any(known.values()):
        raise InputError(f"{name}: no query has a candidate in the corpus of {collection.name}")
    counts = {
        "candidates that the collection excludes, left out": _size(asked) - _size(allowed),
        "candidates that are not in the corpus, left out": _size(allowed) - _size(known),
        "queries without candidates, counted as 0": sum(
            not known.get(q) for q in collection.queries
        ),
    }
    cut = {q: tuple(ids[:depth]) for q, ids in known.items()}
    return FirstStage(name, cut, depth, count_notes(counts))


def _size(lists: Run) -> int:
    return sum(map(len, lists.values()))


def _kept(collection: Collection, depth: int, language: str) -> Run:
    """BM25's lists, from the cache where they are."""
    parts = [collection.hash, list(collection.queries), depth, language, bm25s.__version__]
    key = sha256(json.dumps(parts).encode()).hexdigest()[:24]
    path = cache_folder() / "first-stage" / f"{key}.json"
    try:
        lists: Run = json.loads(path.read_bytes())
    except (OSError, ValueError):
        lists = bm25(collection, depth, language)
        with suppress(SetupError):  # it can be made again
            write_text(path, json.dumps(lists))
    return lists


def bm25(collection: Collection, depth: int, language: str = "english") -> dict[str, list[str]]:
    """The passages of every query with a BM25 score above 0; equal scores in corpus order.

    Args:
        collection: whose queries, corpus and excluded passages.
        depth: the most passages of a query.
        language: as `first_stage` takes it.

    Raises:
        InputError: there is no such language.
    """
    cut = _cutter(language)
    ids, texts = [], []
    for name, passage in collection.corpus.items():  # once: a large corpus is slow to walk
        ids.append(name)
        texts.append(passage.content)
    tokens = cut(texts)
    if not any(tokens):  # of which bm25s can make no index
        return {query: [] for query in collection.queries}
    index = bm25_index(tokens)
    asked = cut(list(collection.queries.values()))
    excluded = collection.excluded or {}
    lists = {}
    for query, words_ in zip(collection.queries, asked, strict=True):
        out = frozenset(excluded.get(query, ()))
        found = [ids[position] for position, _ in bm25_search(index, words_, depth + len(out))]
        lists[query] = [passage for passage in found if passage not in out][:depth]
    return lists


def _cutter(language: str) -> Callable[[list[str]], list[list[str]]]:
    """What cuts texts into the tokens that BM25 counts."""
    if language == NO_STEMMING:
        return lambda texts: [words(text) for text in texts]
    if language not in algorithms():
        names = ", ".join([*algorithms(), NO_STEMMING])
        raise InputError(f"BM25 knows no language {language!r}; it knows: {names}")
    stop = language if language in _STOP_WORDS else []
    stemmer = Stemmer(language)

    def cut(texts: list[str]) -> list[list[str]]:
        found: list[list[str]] = bm25s.tokenize(
            texts, stopwords=stop, stemmer=stemmer, return_ids=False, show_progress=False
        )
        return found

    return cut
