"""Collections by name: a folder, an ir_datasets id, or a group of the paper's sets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from rearank_agent.data.beir import read_folder
from rearank_agent.data.bright import bright, is_bright
from rearank_agent.data.collection import Collection, count_notes
from rearank_agent.data.own_passage import count_own_passages
from rearank_agent.data.trec import read_text
from rearank_agent.errors import InputError

__all__ = ["load_collections", "read_query_ids", "remarks", "select_queries"]


_READERS: tuple[tuple[Callable[[Path], bool], Callable[[Path], list[Collection]]], ...] = (
    (is_bright, bright),
    (lambda _path: True, lambda path: [read_folder(path)]),
)
"""Kinds of folders: whether a path is one, and what reads it; the first that knows it."""


def load_collections(names: Iterable[str]) -> list[Collection]:
    """The collections of all names, each under a unique name.

    Args:
        names: each a folder in BEIR's format (or a file with judgements in one), a BRIGHT folder
            (or one of its examples files), an ir_datasets id, or `trec-dl` or `beir` for the
            paper's sets.

    Raises:
        InputError: there is no such collection, it cannot be used, or it is given twice.
        SetupError: a package is missing, or files that cannot be downloaded.
    """
    found = [collection for name in names for collection in _named(name)]
    return _with_unique_names(found)


def _named(name: str) -> list[Collection]:
    path = Path(name)
    if path.exists():
        return next(read(path) for known, read in _READERS if known(path))
    from rearank_agent.data.ir_datasets import BEIR_MISSING, GROUPS, ir_dataset

    found = [ir_dataset(one) for one in GROUPS.get(name, (name,))]
    if name == "beir":
        found[-1] = replace(found[-1], notes=(*found[-1].notes, BEIR_MISSING))
    return found


def _with_unique_names(found: Sequence[Collection]) -> list[Collection]:
    """The collections under unique names: equal ones get the folders above in front."""
    places = [
        Path(c.source).resolve() if Path(c.source).exists() else Path(c.source) for c in found
    ]
    if twice := [c.source for c, n in zip(found, map(places.count, places), strict=True) if n > 1]:
        raise InputError(f"named twice: {', '.join(dict.fromkeys(twice))}")
    names = [c.name for c in found]
    for above in range(max((len(place.parts) for place in places), default=0)):
        duplicates = {name for name, n in Counter(names).items() if n > 1}
        if not duplicates:
            break
        for i, (place, name) in enumerate(zip(places, names, strict=True)):
            if name in duplicates:
                names[i] = f"{place.parents[above].name}/{name}"
    return [replace(c, name=name) for c, name in zip(found, names, strict=True)]


def read_query_ids(path: Path) -> list[str]:
    """The ids of queries in a file: one a line, up to a tab.

    Raises:
        InputError: the file cannot be read.
    """
    lines = read_text(path).split("\n")
    return [line.split("\t")[0].strip() for line in lines if line.strip()]


def select_queries(
    collection: Collection, limit: int | None, wanted: Sequence[str] | None
) -> Collection:
    """The collection with only some of its queries.

    Args:
        collection: to choose from.
        limit: the number of queries, from the first; None for all.
        wanted: the ids of queries; None for all.

    Raises:
        InputError: an id is not that of a judged query.
    """
    ids = list(collection.queries)
    if wanted is not None:
        if unknown := [query for query in wanted if query not in collection.queries]:
            few = ", ".join(unknown[:3])
            raise InputError(
                f"{collection.name} has no judged queries {few} ({len(unknown)} unknown in all)"
            )
        chosen = set(wanted)
        ids = [query for query in ids if query in chosen]
    ids = ids[:limit]
    if not ids:
        raise InputError(f"no query of {collection.name} was chosen")
    if part := len(ids) < len(collection.queries):
        note = f"queries chosen: {len(ids):,} of {len(collection.queries):,}"
        collection = replace(collection, notes=(*collection.notes, note))
    return replace(
        collection,
        part=part,
        queries={query: collection.queries[query] for query in ids},
        qrels={query: collection.qrels[query] for query in ids},
    )


def remarks(collection: Collection) -> list[str]:
    """The notes of a collection, and counts of unusual queries and judgements."""
    judged = collection.qrels.values()
    counts = {
        "queries without a relevant passage, 0 for every system": sum(
            max(grades.values()) <= 0 for grades in judged
        ),
        "judgements of passages that are not in the corpus, counted in the ideal": sum(
            passage not in collection.corpus for grades in judged for passage in grades
        ),
        **count_own_passages(collection),
    }
    return [*collection.notes, *count_notes(counts)]
