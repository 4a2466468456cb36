"""Rows as REARANK publishes them: sets of passages without grades, which judgements give.

A file holds JSON, JSON Lines or Parquet; a row (as in `rearank_12k`) has

    query           the text
    hits            the set in the order shown: {"qid", "docid", "content", "score"}
    metrics         of that order; "NDCG@10" is checked against the judgements, where it is told

and more, which is not read. Content may be "Title: ... Content: ...". The reward of the published
code takes grades from a file of judgements (`combined_qrels.txt`), and so do we.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rearank_agent.data.collection import Collection
from rearank_agent.data.parquet import read_columns
from rearank_agent.data.trec import Qrels, Run, read_qrels, read_text
from rearank_agent.errors import InputError
from rearank_agent.files import digest_of
from rearank_agent.json_text import parse_json
from rearank_agent.metrics import ndcg
from rearank_agent.types import Passage
from rearank_training.rows.augment import Augmentation
from rearank_training.rows.rows import Query

__all__ = ["Published", "read_published"]

_TITLED = re.compile(r"Title: (?P<title>.*?) Content: (?P<text>.*)", re.DOTALL)
_ROUNDED = 2e-5  # the published figures have five decimals


@dataclass(frozen=True)
class Published:
    """Published rows, as a collection and its sets.

    Attributes:
        collection: queries, judgements, and all passages of a query as its list: by falling
            score where every hit has one, else as they are met.
        sets: of every query, ids in the order shown.
        differing: rows whose NDCG@10 is not the one that these judgements give.
    """

    collection: Collection
    sets: Mapping[str, Sequence[tuple[str, ...]]]
    differing: int

    @property
    def settings(self) -> Augmentation:
        """The settings that keep all sets as they are."""
        size = max(len(one) for sets in self.sets.values() for one in sets)
        depth = max(map(len, (self.collection.lists or {}).values()))
        return Augmentation(max(map(len, self.sets.values())), size, depth, filtered=False)

    def draw(self, query: Query, settings: Augmentation) -> Iterator[tuple[int, ...]]:  # noqa: ARG002
        """The sets of a query, as ranks in its list."""
        rank = {name: number for number, name in enumerate(query.passages, 1)}
        for one in self.sets[query.id]:
            yield tuple(rank[name] for name in one)


def read_published(path: Path, judgements: Path) -> Published:
    """The rows of a file, with grades from a file of judgements.

    Raises:
        InputError: a file cannot be read or has another form, a passage has two texts, a query has
            no judgements, or no row has the NDCG@10 that the judgements give.
        SetupError: the file is Parquet, and pyarrow is not installed.
    """
    qrels = read_qrels(judgements)
    read = _Reader(qrels)
    for number, row in enumerate(_rows(path), 1):
        read.add(row, f"{path}, row {number}")
    if not read.queries:
        raise InputError(f"{path} has no rows")
    if read.checked and read.differing == read.checked:
        raise InputError(
            f"no row of {path} has the NDCG@10 that {judgements} gives: name the judgements that "
            "the rows were made with"
        )
    collection = Collection(
        name=path.stem,
        source=str(path),
        queries=read.queries,
        qrels={query: qrels[query] for query in read.queries},
        corpus=read.passages,
        hash=digest_of([path, judgements]),
        lists=read.lists(),
        listed=f"the rows of {path.name}",
    )
    return Published(collection, read.sets, read.differing)


class _Reader:
    def __init__(self, qrels: Qrels) -> None:
        self._qrels = qrels
        self.queries: dict[str, str] = {}
        self.passages: dict[str, Passage] = {}
        self.sets: dict[str, list[tuple[str, ...]]] = {}
        self._scores: dict[str, dict[str, float | None]] = {}
        self.checked = self.differing = 0

    def add(self, row: Any, where: str) -> None:
        """Take a row."""
        row = row if isinstance(row, dict) else {}
        text, hits = row.get("query"), row.get("hits")
        if not isinstance(text, str) or not isinstance(hits, list) or len(hits) < 2:
            raise InputError(f"{where}: a row has a query, and a list of two hits or more")
        read = [_hit(hit, f"{where}, hit {number}") for number, hit in enumerate(hits, 1)]
        queries = {query for query, _, _ in read}
        names = tuple(passage.id for _, passage, _ in read)
        if len(queries) > 1 or len({*names}) < len(names):
            raise InputError(f"{where}: the hits are of several queries, or one occurs twice")
        query = queries.pop()
        if query not in self._qrels:
            raise InputError(f"{where}: the query {query!r} has no judgements")
        if self.queries.setdefault(query, text) != text:
            raise InputError(f"{where}: the query {query!r} has another text earlier")
        for _, passage, score in read:
            if self.passages.setdefault(passage.id, passage) != passage:
                raise InputError(f"{where}: the passage {passage.id!r} has another text earlier")
            self._scores.setdefault(query, {}).setdefault(passage.id, score)
        self.sets.setdefault(query, []).append(names)
        self._check(row, query, names)

    def _check(self, row: dict[str, Any], query: str, names: Iterable[str]) -> None:
        metrics = row.get("metrics")
        told = metrics.get("NDCG@10") if isinstance(metrics, dict) else None
        if isinstance(told, int | float):
            judged = self._qrels[query]
            real = ndcg([judged.get(name, 0) for name in names], [*judged.values()], 10)
            self.checked += 1
            self.differing += abs(real - told) > _ROUNDED

    def lists(self) -> Run:
        """All passages of every query."""
        found = {}
        for query, scores in self._scores.items():
            known = {name: score for name, score in scores.items() if score is not None}
            complete = len(known) == len(scores)
            found[query] = sorted(known, key=lambda n: -known[n]) if complete else [*scores]
        return found


def _hit(hit: Any, where: str) -> tuple[str, Passage, float | None]:
    """The query's id, the passage, and its score if it has one."""
    told = hit if isinstance(hit, dict) else {}
    query, name, content, score = map(told.get, ("qid", "docid", "content", "score"))
    ids = isinstance(query, str | int) and isinstance(name, str | int)
    if not ids or not isinstance(content, str):
        raise InputError(f"{where}: a hit has qid, docid and content")
    found = _TITLED.fullmatch(content)
    texts = (found["text"], found["title"]) if found else (content,)
    number = float(score) if isinstance(score, int | float) else None
    return str(query), Passage(str(name), *texts), number


def _rows(path: Path) -> Iterator[Any]:
    if path.suffix == ".parquet":
        yield from read_columns([path], "query", "hits", "metrics").to_pylist()
        return
    text = read_text(path)
    try:
        if text.lstrip().startswith("["):
            yield from parse_json(text)
        else:
            yield from (parse_json(line) for line in text.split("\n") if line.strip())
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}") from None
