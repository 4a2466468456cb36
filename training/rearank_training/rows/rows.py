"""Training rows: small sets of passages of judged queries, as files in a folder.

    queries.jsonl    a query, its first-stage list and the grades of that
    passages.jsonl   the passages of those lists
    rows.jsonl       {"collection": ..., "query": ID, "number": 3, "ranks": [2, 3, 11, ...]}
    manifest.json    sources, settings, counts, and the hashes of the other files

Every text is stored once, however many sets it is in; `read_rows` joins them again. The same
rows give the same bytes. `augment.py` makes them.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol, TypeVar

from rearank_agent import __version__
from rearank_agent.errors import InputError
from rearank_agent.files import write_error, write_text
from rearank_agent.metrics import ndcg
from rearank_agent.types import Passage

__all__ = ["Passages", "Query", "Row", "Rows", "read_rows", "with_signal", "write_rows"]

_VERSION = 1
_FILES = ("queries.jsonl", "passages.jsonl", "rows.jsonl")
_MANIFEST = "manifest.json"

Passages = Mapping[tuple[str, str], Passage]
"""By collection and id."""


@dataclass(frozen=True, slots=True)
class Query:
    """A judged query and the passages the first stage found for it.

    Attributes:
        collection: its name.
        id: unique in the collection.
        text: the query.
        instruction: one sentence on what relevant means here; may be empty.
        passages: ids, best first.
        grades: one for each passage, from the qrels; 0 where it was not judged.
    """

    collection: str
    id: str
    text: str
    instruction: str
    passages: tuple[str, ...]
    grades: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """A set of a query's passages, in the order in which they are shown.

    Attributes:
        number: of the draw, from 0.
        ranks: of the passages in the query's list, from 1; ascending unless the set is shuffled.
    """

    query: Query
    number: int
    ranks: tuple[int, ...]

    @property
    def passages(self) -> tuple[str, ...]:
        """The ids of the set."""
        return tuple(self.query.passages[rank - 1] for rank in self.ranks)

    @property
    def grades(self) -> tuple[int, ...]:
        """The grades of the set."""
        return tuple(self.query.grades[rank - 1] for rank in self.ranks)

    @property
    def initial(self) -> float:
        """nDCG@10 of the set in the order shown, 0 to 1; the ideal is the set's own.

        At 1 no order is better, and the relative reward of all orders is 0.
        """
        return _initial(self)


class _Graded(Protocol):
    @property
    def grades(self) -> tuple[int, ...]: ...


_T = TypeVar("_T", bound=_Graded)


def _initial(one: _Graded) -> float:
    return ndcg(one.grades, one.grades, 10)


def with_signal(rows: Iterable[_T]) -> list[_T]:
    """Those not in their best order: of the others, every order has the relative reward 0."""
    return [one for one in rows if _initial(one) < 1]


@dataclass(frozen=True)
class Rows:
    """Rows and their passages.

    Attributes:
        rows: those of a query side by side.
        passages: of all rows.
        provenance: sources, settings and counts, as JSON; they become part of the manifest.
    """

    rows: tuple[Row, ...]
    passages: Passages
    provenance: Mapping[str, Any]


def write_rows(folder: Path, rows: Rows) -> dict[str, Any]:
    """Write rows; gives their manifest, written last, so that an incomplete build has none.

    Raises:
        SetupError: a file cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _MANIFEST).unlink(missing_ok=True)
    except OSError as error:
        raise write_error(folder, error) from None
    parts = (
        (asdict(query) for query, _ in groupby(rows.rows, key=lambda row: row.query)),
        (_passage(collection, passage) for (collection, _), passage in rows.passages.items()),
        map(_row, rows.rows),
    )
    manifest = {
        "kind": "rows",
        "version": _VERSION,
        **rows.provenance,
        "files": {
            name: write_text(folder / name, (f"{_json(one)}\n" for one in part))
            for name, part in zip(_FILES, parts, strict=True)
        },
        "versions": {"rearank-agent": __version__, "python": platform.python_version()},
    }
    write_text(folder / _MANIFEST, f"{_json(manifest, indent=2)}\n")
    return manifest


def _passage(collection: str, passage: Passage) -> dict[str, str]:
    texts = {"id": passage.id, "title": passage.title, "text": passage.text}
    return {"collection": collection, **texts}


def _row(row: Row) -> dict[str, Any]:
    query = {"collection": row.query.collection, "query": row.query.id}
    return {**query, "number": row.number, "ranks": row.ranks}


def _json(values: Mapping[str, Any], indent: int | None = None) -> str:
    return json.dumps(values, ensure_ascii=False, indent=indent)


def read_rows(folder: Path) -> tuple[tuple[Row, ...], Passages]:
    """The rows of a folder, and their passages.

    Raises:
        InputError: the folder has no rows, or a file was changed.
    """
    hashes = _hashes(folder / _MANIFEST)
    queries, passages, rows = (_lines(folder / name, hashes.get(name)) for name in _FILES)
    by_id = {(query.collection, query.id): query for query in map(_query, queries)}
    texts = {(p["collection"], p["id"]): Passage(p["id"], p["text"], p["title"]) for p in passages}
    found = (Row(by_id[r["collection"], r["query"]], r["number"], tuple(r["ranks"])) for r in rows)
    return tuple(found), texts


def _query(values: dict[str, Any]) -> Query:
    lists = {name: tuple(values[name]) for name in ("passages", "grades")}
    return Query(**values | lists)


def _hashes(path: Path) -> dict[str, str]:
    if not path.is_file():
        raise InputError(
            f"{path.parent} has no rows, or an incomplete build: make them with "
            "rearank-agent train rows"
        )
    try:
        manifest = json.loads(path.read_bytes())
        hashes: dict[str, str] = dict(manifest["files"])
        known = (manifest["kind"], manifest["version"]) == ("rows", _VERSION)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path} is damaged: {error!r:.80}; make the rows again") from None
    if not known:
        raise InputError(f"{path} is not a manifest of rows this version reads; make them again")
    return hashes


def _lines(path: Path, digest: str | None) -> Iterator[dict[str, Any]]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    if sha256(data).hexdigest() != digest:
        raise InputError(f"{path} is damaged, or of another build; make the rows again")
    return map(json.loads, data.decode().split("\n")[:-1])
