"""A collection in BEIR's form: a folder of JSON Lines and judgements.

    FOLDER/corpus.jsonl          {"_id": ..., "title": ..., "text": ...}
    FOLDER/queries.jsonl         {"_id": ..., "text": ...}
    FOLDER/qrels_full.tsv        judgements, also of passages that are not in the corpus; else
    FOLDER/qrels.tsv             query-id, corpus-id, score; else
    FOLDER/qrels/test.tsv
    FOLDER/candidates.jsonl      {"query-id": ..., "corpus-ids": [...]}: the first stage; else
    FOLDER/bm25_top100.jsonl
    FOLDER/instruction.txt       one sentence on what relevant means here

All but the first three lines may be missing.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rearank_agent.data.collection import Collection, count_notes, make_collection
from rearank_agent.data.own_passage import own_excluded
from rearank_agent.data.trec import read_qrels, read_text
from rearank_agent.errors import InputError
from rearank_agent.files import digest_of
from rearank_agent.json_text import parse_json
from rearank_agent.types import Passage, id_text

__all__ = ["Corpus", "folder_of", "read_folder"]

CORPUS = "corpus.jsonl"
LISTS = ("candidates.jsonl", "bm25_top100.jsonl")


class Corpus(Mapping[str, Passage]):
    """The passages of a file of JSON Lines; texts are read from the file on access.

    Attributes:
        integers: how many ids were integers.

    Raises:
        InputError: a line is not a passage, or an id occurs twice.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                self.data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
        except ValueError:
            raise InputError(f"{path} is empty") from None
        self._spans: dict[str, slice] = {}
        start, number, self.integers = 0, 0, 0
        while line := self.data.readline():
            number += 1
            if line.strip():
                row = _row(line, where := f"{path}, line {number}")
                name = _id(row, "_id", where)
                if name in self._spans:
                    raise InputError(f"{where}: the id {name!r} occurs twice")
                _passage(row, name, where)
                self.integers += not isinstance(row["_id"], str)
                self._spans[name] = slice(start, start + len(line))
            start += len(line)

    def __getitem__(self, name: str) -> Passage:
        return _passage(json.loads(self.data[self._spans[name]]), name, str(self.path))

    def __iter__(self) -> Iterator[str]:
        return iter(self._spans)

    def __len__(self) -> int:
        return len(self._spans)

    def __contains__(self, name: object) -> bool:
        return name in self._spans


def folder_of(path: Path) -> Path | None:
    """The collection's folder: the path itself, or that of a file with judgements in it."""
    nearest = [path, path.parent, path.parent.parent]
    return next((folder for folder in nearest if (folder / CORPUS).is_file()), None)


def read_folder(path: Path, *, judged: bool = True) -> Collection:
    """A collection in BEIR's form.

    Args:
        path: the folder, or a file with judgements in it: FOLDER/qrels/dev.tsv.
        judged: whether its judgements are read; without them it has all queries, whose grades are
            empty, and needs no file of judgements.

    Raises:
        InputError: a file is missing or cannot be used; the message names file and line.
    """
    if (folder := folder_of(path)) is None:
        raise InputError(f"{path} is no collection: there is no {CORPUS}")
    qrels = (path if path.is_file() else _qrels_file(folder)) if judged else None
    corpus, queries, lists = folder / CORPUS, folder / "queries.jsonl", _lists(folder)
    instruction = folder / "instruction.txt"
    optional = [file for file in (qrels, lists, instruction) if file and file.is_file()]
    collection = folder.resolve().name
    texts, integers = _queries(queries)
    passages = Corpus(corpus)
    made = make_collection(
        name=f"{collection}/{qrels.stem}" if qrels and path != folder else collection,
        source=str(path),
        queries=texts,
        qrels=read_qrels(qrels) if qrels else {query: {} for query in texts},
        corpus=passages,
        hash=digest_of([corpus, queries, *optional]),
        lists=_candidates(lists) if lists else None,
        excluded=own_excluded(collection, texts) or None,
        listed=lists.name if lists else "",
        instruction=" ".join(read_text(instruction).split()) if instruction.is_file() else "",
    )
    notes = count_notes({"ids that are integers, read as strings": integers + passages.integers})
    return replace(made, notes=(*made.notes, *notes))


def _qrels_file(folder: Path) -> Path:
    for name in ("qrels_full.tsv", "qrels.tsv", "qrels/test.tsv"):
        if (folder / name).is_file():
            return folder / name
    several = sorted(folder.glob("qrels/*.tsv"))
    if len(several) == 1:
        return several[0]
    if several:
        names = ", ".join(str(path) for path in several)
        raise InputError(f"{folder} has several files of judgements; name one of: {names}")
    raise InputError(f"{folder} has no judgements: qrels.tsv, or a folder qrels")


def _lists(folder: Path) -> Path | None:
    return next((folder / name for name in LISTS if (folder / name).exists()), None)


def _queries(path: Path) -> tuple[dict[str, str], int]:
    """The queries, and how many of their ids were integers."""
    queries: dict[str, str] = {}
    integers = 0
    for where, row in _rows(path):
        name = _id(row, "_id", where)
        if name in queries:
            raise InputError(f"{where}: the id {name!r} occurs twice")
        queries[name] = _text(row, "text", where)
        integers += not isinstance(row["_id"], str)
    return queries, integers


def _candidates(path: Path) -> dict[str, tuple[str, ...]]:
    lists: dict[str, tuple[str, ...]] = {}
    for where, row in _rows(path):
        query, ids = _id(row, "query-id", where), row.get("corpus-ids")
        if not isinstance(ids, list):
            raise InputError(f'{where}: "corpus-ids" must be a list of ids, not {ids!r:.40}')
        ids = [id_text(one, f'{where}: an id of "corpus-ids"') for one in ids]
        if query in lists or len(set(ids)) < len(ids):
            raise InputError(f"{where}: the query {query!r} or one of its passages occurs twice")
        lists[query] = tuple(ids)
    if not lists:
        raise InputError(f"{path} holds no candidates; without the file they come from BM25")
    return lists


def _rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The place (file and line) of each object in a file of JSON Lines, and the object."""
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if line.strip():
            where = f"{path}, line {number}"
            yield where, _row(line, where)


def _row(line: str | bytes, where: str) -> dict[str, Any]:
    try:
        row = parse_json(line)
    except ValueError as error:
        raise InputError(f"{where}: not JSON: {error}") from None
    if not isinstance(row, dict):
        raise InputError(f"{where}: not a JSON object")
    return row


def _passage(row: dict[str, Any], name: str, where: str) -> Passage:
    title: Any = row.get("title")
    try:
        return Passage(name, _text(row, "text", where), title)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _id(row: dict[str, Any], name: str, where: str) -> str:
    """An id that fits in a column of a run file."""
    found = id_text(row.get(name), f'{where}: "{name}"')
    if not found or any(letter in found for letter in "\t\r\n"):
        raise InputError(f"{where}: {name} must be one line without tabs, not {found!r:.40}")
    return found


def _text(row: dict[str, Any], name: str, where: str) -> str:
    if not isinstance(text := row.get(name), str):
        raise InputError(f'{where}: "{name}" must be a string, not {text!r:.40}')
    return text
