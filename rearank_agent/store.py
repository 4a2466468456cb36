"""A bounded key-value store of texts in one SQLite file: for many processes, without pickle."""

from __future__ import annotations

from pathlib import Path

from rearank_agent.database import Database, used_bytes

__all__ = ["Store", "reply_store", "run_store"]

_TABLE = """CREATE TABLE IF NOT EXISTS kept (
    number INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE, text TEXT NOT NULL)"""


class Store:
    """A bounded file of texts; safe between processes and threads.

    Attributes:
        path: the file; readable for its owner alone. It is made at the first `put`.
        max_bytes: the bytes in use above which the oldest tenth is dropped.
    """

    def __init__(self, path: Path, max_bytes: int = 512 * 1024 * 1024) -> None:
        self.path = path
        self.max_bytes = max_bytes
        self._database = Database(path, _TABLE)

    def get(self, key: str) -> str | None:
        """The text of a key, or None.

        Raises:
            SetupError: the file cannot be read.
        """
        with self._database.reading() as file:
            if file is None:
                return None
            row = file.execute("SELECT text FROM kept WHERE key = ?", (key,)).fetchone()
        return str(row[0]) if row else None

    def put(self, key: str, text: str) -> None:
        """Store a text; an older one under the same key is replaced.

        Raises:
            SetupError: the file cannot be written.
        """
        with self._database.writing() as file:
            file.execute("INSERT OR REPLACE INTO kept (key, text) VALUES (?, ?)", (key, text))
            if used_bytes(file) > self.max_bytes:
                first, last = file.execute("SELECT min(number), max(number) FROM kept").fetchone()
                old = first + (last - first) // 10
                file.execute("DELETE FROM kept WHERE number <= ? AND number < ?", (old, last))


def run_store() -> Store:
    """The rankings of this user's agents, by run: what `explain` reads.

    Raises:
        SetupError: a setting cannot be read.
    """
    return _in_cache("runs.sqlite", 64 * 1024 * 1024)


def reply_store() -> Store:
    """The cached replies of language models.

    Raises:
        SetupError: a setting cannot be read.
    """
    return _in_cache("replies.sqlite", 512 * 1024 * 1024)


def _in_cache(name: str, max_bytes: int) -> Store:
    from rearank_agent.settings import cache_folder  # pydantic, which is slow to import

    return Store(cache_folder() / name, max_bytes)
