"""The vectors of passages that were encoded before, in one SQLite file of bounded size."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from time import time

import numpy as np
from numpy.typing import NDArray

from rearank_agent.database import Database, used_bytes
from rearank_agent.policies.embedded.passage_vectors import PassageVectors

__all__ = ["Ids", "VectorStore", "vector_store"]

Ids = NDArray[np.int64]
"""Names of vectors: the hash of a text and of what makes its vectors."""

# Pieces are numbered in the order in which they come, so that pages are filled; names are random.
_TABLES = (
    """CREATE TABLE IF NOT EXISTS wholes (id INTEGER PRIMARY KEY, number INTEGER NOT NULL,
        used INTEGER NOT NULL, whole BLOB NOT NULL)""",
    "CREATE TABLE IF NOT EXISTS pieces (number INTEGER PRIMARY KEY, pieces BLOB NOT NULL)",
)
_GET = "SELECT used, whole, pieces FROM wholes JOIN pieces USING (number) WHERE id = ?"
_PAGE = 16 * 1024
_DAY = 24 * 60 * 60
_AT_ONCE = 500  # ids of one statement


class VectorStore:
    """A bounded file of vectors; safe between processes and threads.

    The means of whole passages are apart from those of their pieces, since a search reads all of
    the first and few of the second.

    Attributes:
        path: the file; readable for its owner alone. It is made at the first `put`.
        max_bytes: the bytes in use above which the tenth that was not used for longest is dropped.
    """

    def __init__(self, path: Path, max_bytes: int = 1024 * 1024 * 1024) -> None:
        self.path = path
        self.max_bytes = max_bytes
        self._database = Database(path, *_TABLES, page=_PAGE)
        self._writes = 0
        self._seen: set[int] = set()  # used today, which the file does not know yet

    def get(self, name: int) -> PassageVectors | None:
        """The vectors of this name, or None.

        Raises:
            SetupError: the file cannot be read.
            InputError: what it has is damaged.
        """
        with self._database.reading() as file:
            row = file and file.execute(_GET, (name,)).fetchone()
            if not row:
                return None
            used, whole, pieces = row
            if used < _today():
                self._seen.add(name)
        return PassageVectors.from_bytes(whole, pieces)

    def put(self, vectors: Mapping[int, PassageVectors]) -> None:
        """Keep vectors by their names, all or none.

        Raises:
            SetupError: the file cannot be written.
        """
        if not vectors and not self._seen:
            return
        today = _today()
        with self._database.writing() as file:
            for name, one in vectors.items():
                _insert(file, name, today, one)
            used = ((today, name) for name in self._seen)
            file.executemany("UPDATE wholes SET used = ? WHERE id = ?", used)
            self._seen.clear()
            self._writes += 1
            if used_bytes(file) > self.max_bytes:
                _drop_oldest(file)

    def wholes(self, names: Ids) -> dict[int, bytes]:
        """The means of whole passages by name, as far as they are kept.

        Raises:
            SetupError: the file cannot be read.
        """
        found: dict[int, bytes] = {}
        with self._database.reading() as file:
            if file is None:
                return found
            (kept,) = file.execute("SELECT count(*) FROM wholes").fetchone()
            if kept < 4 * len(names):  # one pass over all is quicker than that many look-ups
                found.update(file.execute("SELECT id, whole FROM wholes"))
                return found
            for start in range(0, len(names), _AT_ONCE):
                part = names[start : start + _AT_ONCE].tolist()
                marks = ",".join("?" * len(part))
                found.update(
                    file.execute(f"SELECT id, whole FROM wholes WHERE id IN ({marks})", part)  # noqa: S608
                )
        return found

    def version(self) -> tuple[int, int]:
        """Numbers that differ after somebody has written, in this process or another.

        Raises:
            SetupError: the file cannot be read.
        """
        with self._database.reading() as file:
            return self._writes, file.execute("PRAGMA data_version").fetchone()[0] if file else -1


def vector_store() -> VectorStore:
    """The vectors of this user's passages.

    Raises:
        SetupError: a setting cannot be read.
    """
    from rearank_agent.settings import cache_folder  # pydantic, which is slow to import

    return VectorStore(cache_folder() / "vectors.sqlite")


def _insert(file: sqlite3.Connection, name: int, today: int, one: PassageVectors) -> None:
    """Keep a passage, unless another program has done so in the meantime."""
    if file.execute("SELECT 1 FROM wholes WHERE id = ?", (name,)).fetchone():
        return
    new = file.execute("INSERT INTO pieces (pieces) VALUES (?)", (one.to_bytes(),))
    row = (name, new.lastrowid, today, one.whole.tobytes())
    file.execute("INSERT INTO wholes VALUES (?, ?, ?, ?)", row)


def _drop_oldest(file: sqlite3.Connection) -> None:
    """Drop the tenth that was not used for longest."""
    (kept,) = file.execute("SELECT count(*) FROM wholes").fetchone()
    oldest = "SELECT number FROM wholes ORDER BY used, number LIMIT ?"
    for table in ("pieces", "wholes"):
        file.execute(f"DELETE FROM {table} WHERE number IN ({oldest})", (kept // 10 + 1,))  # noqa: S608


def _today() -> int:
    return int(time()) // _DAY
