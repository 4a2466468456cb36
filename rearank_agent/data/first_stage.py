"""The first stage: given candidates, or BM25 over the whole corpus.

BM25 by bm25s in Lucene's variant with k1 0.9 and b 0.4, as for the TREC runs of the paper.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path

import bm25s
from Stemmer import Stemmer, algorithms

from rearank_agent.data.bm25_size import check_size
from rearank_agent.data.collection import Collection, count_notes
from rearank_agent.data.trec import Run, read_run
from rearank_agent.errors import InputError, SetupError
from rearank_agent.files import write_text
from rearank_agent.policies.lexical import bm25_index, bm25_search
from rearank_agent.settings import cache_folder
from rearank_agent.text import words

__all__ = ["FirstStage", "first_stage", "run_of_each"]

NO_STEMMING = "none"
_STOP_WORDS = (
    "danish", "dutch", "english", "french", "german", "italian", "norwegian", "portuguese",
    "russian", "spanish", "swedish", "turkish",
)  # fmt: skip


@dataclass(frozen=True)
class FirstStage:
    """The candidates of every query.

    Attributes:
        name: their source.
        lists: passages of every query, best first, all in the corpus.
        depth: the maximum number of candidates for a query.
        notes: what was left out, with counts.
    """

    name: str
    lists: Run
    depth: int
    notes: tuple[str, ...] = ()

    @cached_property
    def hash(self) -> str:
        """The SHA-256 of all lists."""
        return sha256(
            json.dumps({q: list(ids) for q, ids in self.lists.items()}).encode()
        ).hexdigest()


def first_stage(
    collection: Collection,
    depth: int,
    *,
    run: Path | None = None,
    language: str | None = None,
    warn: Callable[[str], None] = lambda _note: None,
) -> FirstStage:
    """The candidates: those of a TREC run, else the collection's own, else BM25's.

    Args:
        collection: the queries and the corpus.
        depth: the maximum number of candidates for a query.
        run: a TREC run.
        language: use BM25 even if the collection has candidates: one of PyStemmer's languages, or
            "none" for words without stemming (and pairs of letters in scripts without spaces).
        warn: called before BM25 reads a large corpus, with what it will take.

    Raises:
        InputError: the run has no passage of the corpus, there is no such language, or BM25 needs
            more memory than this machine has.
    """
    lists: Run
    if run:
        name, lists = run.name, read_run(run)
    elif collection.lists and not language:
        name, lists = collection.listed, collection.lists
    else:
        name, lists = (
            f"BM25, {language or 'english'}",
            _cached_bm25(collection, depth, language or "english", warn),
        )
    given = {q: lists[q] for q in collection.queries if q in lists}
    excluded = collection.excluded or {}
    allowed = {q: [p for p in ids if p not in excluded.get(q, ())] for q, ids in given.items()}
    known = {q: [p for p in ids if p in collection.corpus] for q, ids in allowed.items()}
    if not given:
        raise InputError(f"{name}: none of its queries is one of {collection.name}")
    if not any(known.values()):
        raise InputError(f"{name}: no query has a candidate in the corpus of {collection.name}")
    counts = {
        "candidates that the collection excludes, left out": _size(given) - _size(allowed),
        "candidates that are not in the corpus, left out": _size(allowed) - _size(known),
        "queries without candidates, counted as 0": sum(
            not known.get(q) for q in collection.queries
        ),
    }
    candidates = {q: tuple(ids[:depth]) for q, ids in known.items()}
    return FirstStage(name, candidates, depth, count_notes(counts))


def run_of_each(collections: Sequence[Collection], runs: Sequence[Path]) -> list[Path | None]:
    """The TREC run of each collection, given in their order; None for all where none is given.

    Raises:
        InputError: there are fewer or more runs than collections.
    """
    if runs and len(runs) != len(collections):
        names = ", ".join(one.name for one in collections)
        raise InputError(
            f"every collection needs a first-stage run of its own, in their order ({names}): "
            f"{len(runs)} for {len(collections)}"
        )
    return list(runs) or [None] * len(collections)


def _size(lists: Run) -> int:
    return sum(map(len, lists.values()))


def _cached_bm25(
    collection: Collection, depth: int, language: str, warn: Callable[[str], None]
) -> Run:
    """BM25's lists, from the cache if they are there."""
    parts: list[object] = [collection.hash, list(collection.queries), depth, language]
    parts += [bm25s.__version__, {q: sorted(ids) for q, ids in (collection.excluded or {}).items()}]
    key = sha256(json.dumps(parts).encode()).hexdigest()[:24]
    path = cache_folder() / "first-stage" / f"{key}.json"
    try:
        lists: Run = json.loads(path.read_bytes())
    except (OSError, ValueError):
        check_size(collection, warn)
        lists = bm25(collection, depth, language)
        with suppress(SetupError):  # without a cache BM25 runs again
            write_text(path, json.dumps(lists))
    return lists


def bm25(collection: Collection, depth: int, language: str = "english") -> dict[str, list[str]]:
    """The passages of every query with a BM25 score above 0; equal scores in corpus order.

    Args:
        collection: the queries, the corpus and the excluded passages.
        depth: the maximum number of passages for a query.
        language: as for `first_stage`.

    Raises:
        InputError: there is no such language.
    """
    tokenize = _tokenizer(language)
    ids, texts = [], []
    for name, passage in collection.corpus.items():  # once: a large corpus is slow to read
        ids.append(name)
        texts.append(passage.content)
    tokens = tokenize(texts)
    if not any(tokens):  # bm25s cannot index a corpus without tokens
        return {query: [] for query in collection.queries}
    index = bm25_index(tokens)
    queries = tokenize(list(collection.queries.values()))
    excluded = collection.excluded or {}
    lists = {}
    for query, terms in zip(collection.queries, queries, strict=True):
        out = frozenset(excluded.get(query, ()))
        found = [ids[position] for position in bm25_search(index, terms, depth + len(out))]
        lists[query] = [passage for passage in found if passage not in out][:depth]
    return lists


def _tokenizer(language: str) -> Callable[[list[str]], list[list[str]]]:
    """The function that splits texts into BM25's tokens."""
    if language == NO_STEMMING:
        return lambda texts: [words(text) for text in texts]
    if language not in algorithms():
        names = ", ".join([*algorithms(), NO_STEMMING])
        raise InputError(f"BM25 has no language {language!r}; it has: {names}")
    stop = language if language in _STOP_WORDS else []
    stemmer = Stemmer(language)

    def tokenize(texts: list[str]) -> list[list[str]]:
        tokens: list[list[str]] = bm25s.tokenize(
            texts, stopwords=stop, stemmer=stemmer, return_ids=False, show_progress=False
        )
        return tokens

    return tokenize
