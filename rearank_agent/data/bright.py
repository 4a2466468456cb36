"""BRIGHT's twelve sets, from the folder in which they are published (Su et al. 2024).

    FOLDER/documents/SET-00000-of-00001.parquet    id, content
    FOLDER/examples/SET-00000-of-00001.parquet     id, query, gold_ids, excluded_ids, ...

A file may also be named SET.parquet. Other folders (long_documents, gpt4_reason, ...) are not read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from rearank_agent.data.collection import Collection, count_notes, make_collection
from rearank_agent.data.parquet import read_columns
from rearank_agent.errors import InputError
from rearank_agent.files import digest_of
from rearank_agent.types import Passage

__all__ = ["SETS", "Documents", "bright", "is_bright"]

SETS = (
    "biology", "earth_science", "economics", "psychology", "robotics", "stackoverflow",
    "sustainable_living", "pony", "leetcode", "aops", "theoremqa_theorems", "theoremqa_questions",
)  # fmt: skip
"""In the paper's order."""

NONE = "N/A"
"""The value of `excluded_ids` where nothing is excluded."""


def is_bright(path: Path) -> bool:
    """Whether the path is a folder of BRIGHT, or one of its files of examples."""
    folder, inside = _folder(path)
    known = inside.parent.name == "examples" and any(inside.parent.glob("*.parquet"))
    return known and (folder / "documents").is_dir() and (path == folder or path.is_file())


def bright(path: Path) -> list[Collection]:
    """The sets of a folder, in the paper's order; or of one file of examples.

    Raises:
        InputError: no set is there, or a file is missing or cannot be used.
        SetupError: pyarrow is not installed.
    """
    if not is_bright(path):
        raise InputError(f"{path} is not BRIGHT's folder: it needs the folders documents, examples")
    folder, inside = _folder(path)
    found = [name for name in SETS if _files(inside.parent, name)]
    if path != folder:
        found = [name for name in found if name == path.stem.partition("-")[0]]
    if not found:
        raise InputError(f"{path} holds none of BRIGHT's sets: {', '.join(SETS)}")
    return [_set(folder, name) for name in found]


class Documents(Mapping[str, Passage]):
    """The documents of a set; texts are loaded on first access and stay in memory.

    Attributes:
        repeated: how many documents were left out because of a repeated id.

    Raises:
        InputError: a file is not Parquet, or lacks a column.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = files
        self._rows: dict[str, int] = {}
        names = read_columns(files, "id")["id"].to_pylist()
        for row, name in enumerate(names):
            self._rows.setdefault(_string(name, f"{files[0].parent}, an id"), row)
        self.repeated = len(names) - len(self._rows)

    @cached_property
    def _texts(self) -> Any:
        return read_columns(self._files, "content")["content"]

    def __getitem__(self, name: str) -> Passage:
        return Passage(name, self._texts[self._rows[name]].as_py())

    def __contains__(self, name: object) -> bool:
        return name in self._rows

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


def _folder(path: Path) -> tuple[Path, Path]:
    """BRIGHT's folder, and a file of examples in it."""
    if path.suffix == ".parquet":
        return path.parent.parent, path
    return path, path / "examples" / "*.parquet"


def _set(folder: Path, name: str) -> Collection:
    examples, documents = (_files(folder / kind, name) for kind in ("examples", "documents"))
    if not documents:
        raise InputError(f"{folder / 'documents'} has no documents of {name}")
    queries: dict[str, str] = {}
    qrels: dict[str, dict[str, int]] = {}
    excluded: dict[str, frozenset[str]] = {}
    rows = read_columns(examples, "id", "query", "gold_ids", "excluded_ids").to_pylist()
    for number, row in enumerate(rows, 1):
        where = f"{examples[0]}, row {number}"
        if (query := _string(row["id"], f"{where}, id")) in queries:
            raise InputError(f"{where}: the id {query!r} occurs twice")
        queries[query] = _string(row["query"], f"{where}, query")
        gold, out = (_strings(row[key], f"{where}, {key}") for key in ("gold_ids", "excluded_ids"))
        if both := sorted({*gold} & {*out}):
            raise InputError(f"{where}: {both[0]!r} is both gold and excluded")
        if gold:
            qrels[query] = dict.fromkeys(gold, 1)
        excluded[query] = frozenset(out) - {NONE}
    corpus = Documents(documents)
    collection = make_collection(
        name=f"bright/{name}",
        source=str(examples[0]),
        queries=queries,
        qrels=qrels,
        corpus=corpus,
        hash=digest_of([*documents, *examples]),
        excluded={query: ids for query, ids in excluded.items() if ids} or None,
    )
    repeated = count_notes({"documents with a repeated id, left out": corpus.repeated})
    return replace(collection, notes=(*collection.notes, *repeated))


def _files(folder: Path, name: str) -> list[Path]:
    """The file of a set, or all its parts in order; none if the set is not there."""
    if (single := folder / f"{name}.parquet").is_file():
        return [single]
    number = "[0-9]" * 5
    found = sorted(folder.glob(f"{name}-{number}-of-{number}.parquet"))
    if not found:
        return []
    count = int(found[0].stem[-5:])
    parts = [folder / f"{name}-{part:05}-of-{count:05}.parquet" for part in range(count)]
    if found != parts:
        names = ", ".join(path.name for path in found)
        raise InputError(f"{folder} should hold {count} parts of {name}, and holds {names}")
    return parts


def _string(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise InputError(f"{where} must be a string, not {value!r:.40}")
    return value


def _strings(value: object, where: str) -> list[str]:
    if not isinstance(value, list):
        raise InputError(f"{where} must be a list of strings, not {value!r:.40}")
    return [_string(one, where) for one in value]
