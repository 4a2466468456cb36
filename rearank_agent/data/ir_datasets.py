"""Collections of ir_datasets, which downloads them or says where their files belong."""

from __future__ import annotations

import json
import logging
import re
from collections import deque
from collections.abc import Collection as Ids
from collections.abc import ItemsView, Iterator, Mapping, ValuesView
from contextlib import contextmanager
from dataclasses import replace
from difflib import get_close_matches
from hashlib import sha256
from itertools import islice
from typing import Any

from rearank_agent.data.collection import Collection, count_notes, make_collection
from rearank_agent.data.own_passage import own_excluded
from rearank_agent.errors import InputError, RearankError, SetupError
from rearank_agent.extras import install_line
from rearank_agent.text import printable, shorten
from rearank_agent.types import Passage

__all__ = ["BEIR_MISSING", "GROUPS", "StoredCorpus", "ir_dataset"]

GROUPS: dict[str, tuple[str, ...]] = {
    "trec-dl": (
        "msmarco-passage/trec-dl-2019/judged",
        "msmarco-passage/trec-dl-2020/judged",
    ),
    "beir": (
        "beir/trec-covid",
        "beir/nfcorpus/test",
        "beir/dbpedia-entity/test",
        "beir/scifact/test",
    ),
}
"""The paper's sets by group name; of BEIR's, those that can be downloaded."""

BEIR_MISSING = (
    "Signal-1M, TREC-News and Robust04 are not among BEIR's sets in ir_datasets, since their "
    "texts need a licence: give each as a folder in BEIR's format. "
    "(disks45/nocr/trec-robust-2004 has Robust04's passages and judgements, "
    "but its queries are the topics' titles where BEIR's are their descriptions.)"
)

EXCLUDED = -100
"""The grade with which ir_datasets marks the excluded passages of a query of BRIGHT."""

_messages: deque[str] = deque(maxlen=20)


def ir_dataset(name: str) -> Collection:
    """A collection of ir_datasets; the first use downloads and indexes it, which may take long.

    Its passages are covered by the hash only through the id and ir_datasets' version, which
    checks what it downloads.

    Args:
        name: an id with documents, queries and judgements, as `beir/scifact/test`.

    Raises:
        InputError: there is no such id, or no ranking can be measured on it.
        SetupError: ir_datasets is not installed, or its files are missing.
    """
    library = _library()
    with _loading(name, library):
        dataset = _dataset(name, library)
        queries = {query.query_id: _text(query, name) for query in dataset.queries_iter()}
        qrels, excluded, notes = _judgements(dataset, name)
        excluded = own_excluded(name, queries) or excluded
        judged = [[q, sorted(grades.items())] for q, grades in sorted(qrels.items())]
        left_out = [[q, sorted(ids)] for q, ids in sorted(excluded.items())]
        known = [name, library.__version__, sorted(queries.items()), judged, left_out]
        corpus = StoredCorpus(dataset)
        for passage in islice(corpus.values(), 1):  # fail here on what cannot be read
            corpus[passage.id]
        collection = make_collection(
            name=name,
            source=name,
            queries=queries,
            qrels=qrels,
            corpus=corpus,
            hash=sha256(json.dumps(known).encode()).hexdigest(),
            excluded=excluded or None,
        )
    return replace(collection, notes=collection.notes + notes)


class StoredCorpus(Mapping[str, Passage]):
    """The passages of a dataset, read from disk on access; for one thread."""

    def __init__(self, dataset: Any) -> None:
        self.dataset, self.store = dataset, dataset.docs_store()

    def __getitem__(self, name: str) -> Passage:
        return _passage(self.store.get(name))

    def __iter__(self) -> Iterator[str]:
        return (doc.doc_id for doc in self.dataset.docs_iter())

    def __len__(self) -> int:
        count = self.dataset.docs_count()  # None if it was never counted
        return sum(1 for _ in self) if count is None else int(count)

    def values(self) -> ValuesView[Passage]:
        """The passages, read sequentially: one lookup for each would take hours."""
        return _Passages(self)

    def items(self) -> ItemsView[str, Passage]:
        """The passages with their ids, read sequentially."""
        return _Pairs(self)


class _Passages(ValuesView[Passage]):
    _mapping: StoredCorpus

    def __iter__(self) -> Iterator[Passage]:
        return map(_passage, self._mapping.dataset.docs_iter())


class _Pairs(ItemsView[str, Passage]):
    _mapping: StoredCorpus

    def __iter__(self) -> Iterator[tuple[str, Passage]]:
        return ((passage.id, passage) for passage in self._mapping.values())


def _passage(doc: Any) -> Passage:
    """The document's default text, with its title split off where the text starts with it."""
    text, title = _text(doc, f"document {doc.doc_id}"), getattr(doc, "title", None)
    if isinstance(title, str) and re.match(re.escape(title) + r"(\s|$)", text):
        return Passage(doc.doc_id, text[len(title) :].strip(), title)
    return Passage(doc.doc_id, text)


def _text(item: Any, where: str) -> str:
    text = item.default_text() if hasattr(item, "default_text") else getattr(item, "text", None)
    if not isinstance(text, str):
        fields = ", ".join(item._fields)
        raise InputError(f"{where} cannot be used: no text among the fields {fields}")
    return text


def _judgements(
    dataset: Any, name: str
) -> tuple[dict[str, dict[str, int]], Mapping[str, Ids[str]], tuple[str, ...]]:
    """The grades and the excluded passages of every query, and notes."""
    if parts := {"subtopic_id", "start"} & set(dataset.qrels_cls()._fields):
        raise InputError(
            f"{name} cannot be used: it judges parts of documents or of queries ({parts.pop()}), "
            "and only whole ones are evaluated here"
        )
    qrels: dict[str, dict[str, int]] = {}
    excluded: dict[str, set[str]] = {}
    changed = 0
    for row in dataset.qrels_iter():
        query, passage, grade = row.query_id, row.doc_id, row.relevance
        if not isinstance(grade, int | float) or grade != int(grade):
            raise InputError(f"{name}: grades are whole numbers, not {grade!r:.40}")
        if name.startswith("bright/") and grade == EXCLUDED:
            excluded.setdefault(query, set()).add(passage)
            continue
        grades = qrels.setdefault(query, {})
        changed += grades.get(passage, grade) != grade
        grades[passage] = int(grade)
    notes = count_notes({"judgements that contradict an earlier one, the last counts": changed})
    return qrels, excluded, notes


def _reason(error: Exception) -> str:
    message = f"{type(error).__name__}: {error}"
    if "ConnectionError" in message or "download sources failed" in message:
        return "its files are not here, and cannot be downloaded: there is no connection"
    return shorten(message, 240)


def _dataset(name: str, library: Any) -> Any:
    """The dataset of an id, if it has documents, queries and judgements."""
    try:
        dataset = library.load(name)
    except KeyError:
        raise InputError(
            f"{name} is no collection: neither a file or folder that exists, nor an id of "
            f"ir_datasets.{_similar(name, library)} A collection is a folder in BEIR's format, "
            f"BRIGHT's folder, an id of ir_datasets, or one of the names {' and '.join(GROUPS)}"
        ) from None
    available = {
        "documents": dataset.has_docs(),
        "queries": dataset.has_queries(),
        "judgements": dataset.has_qrels(),
    }
    if lacks := [what for what, there in available.items() if not there]:
        raise InputError(
            f"{name} cannot be used: it has no {' and no '.join(lacks)}.{_similar(name, library)}"
        )
    return dataset


def _similar(name: str, library: Any) -> str:
    """A sentence with a few usable ids that are similar to this one."""
    loaded = {one: library.load(one) for one in library.registry}
    usable = [n for n, d in loaded.items() if d.has_docs() and d.has_queries() and d.has_qrels()]
    near = [one for one in usable if name.lower() in one] or get_close_matches(
        name.lower(), usable, cutoff=0.7
    )
    return f" Similar ids: {', '.join(near[:3])}." if near else ""


def _library() -> Any:
    try:
        import ir_datasets
    except ImportError:
        raise SetupError(
            f"ir_datasets is not installed, which collections by id need: {install_line('eval')}"
        ) from None
    ir_datasets.log.easy().logger().addFilter(_capture)
    return ir_datasets


def _capture(record: logging.LogRecord) -> bool:
    """Keep ir_datasets' messages for an error; let through only those about licences."""
    _messages.append(printable(record.getMessage()))
    return _messages[-1].startswith(
        ("Please confirm you agree", "To use the Istella22 dataset, you must")
    )


@contextmanager
def _loading(name: str, library: Any) -> Iterator[None]:
    """Turn any error of ir_datasets or its files into a SetupError with the reason."""
    _messages.clear()
    try:
        yield
    except RearankError:
        raise
    except Exception as error:
        home = library.util.home_path()
        hints = [x for x in _messages if str(home) in x and not x.startswith("Opening ")]
        where = hints[-1] if hints else f"it keeps its files in {home}"
        if not (hints and isinstance(error, FileNotFoundError)):  # else the hint is the reason
            where = f"{_reason(error)}; {where}"
        raise SetupError(
            f"ir_datasets cannot load {name}: {where} (IR_DATASETS_HOME moves that)"
        ) from None
