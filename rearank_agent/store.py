"""A bounded key-value store of texts in one SQLite file: for many processes, without pickle.

SQLite because it is in the standard library and survives a killed writer: a text is stored
completely or not at all. (diskcache, the usual choice, unpickles what it reads: CVE-2025-69872.)
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from time import monotonic, sleep
from weakref import finalize

from rearank_agent.errors import SetupError

__all__ = ["Store", "reply_store", "run_store"]

_BUSY = 10.0  # seconds to wait while another process writes
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
        self._lock = Lock()
        self._open: sqlite3.Connection | None = None

    def get(self, key: str) -> str | None:
        """The text of a key, or None.

        Raises:
            SetupError: the file cannot be read.
        """
        with self._errors():
            if not self.path.exists():  # raises where the folder may not be looked into
                return None
            found = self._file().execute("SELECT text FROM kept WHERE key = ?", (key,))
            row = found.fetchone()
        return str(row[0]) if row else None

    def put(self, key: str, text: str) -> None:
        """Store a text; an older one under the same key is replaced.

        Raises:
            SetupError: the file cannot be written.
        """
        with self._errors(), self._file() as file:
            file.execute("INSERT OR REPLACE INTO kept (key, text) VALUES (?, ?)", (key, text))
            if _used(file) > self.max_bytes:
                first, last = file.execute("SELECT min(number), max(number) FROM kept").fetchone()
                old = first + (last - first) // 10
                file.execute("DELETE FROM kept WHERE number <= ? AND number < ?", (old, last))

    def _file(self) -> sqlite3.Connection:
        """The open file, which is made; its `with` is a transaction."""
        if self._open and not self.path.exists():  # somebody deleted it
            self._open.close()
            self._open = None
        self._open = self._open or self._connect()
        return self._open

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """One thread at a time, and whatever the file or its folder raises as a SetupError."""
        with self._lock:
            try:
                yield
            except (sqlite3.Error, OSError) as error:
                raise SetupError(
                    f"the store {self.path} cannot be used: {error}; "
                    "if it is damaged, delete it: it holds copies only"
                ) from error

    def _connect(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.touch(mode=0o600)
        file = sqlite3.connect(self.path, timeout=_BUSY, check_same_thread=False)
        try:
            _switch_to_wal(file)
            file.execute("PRAGMA synchronous = NORMAL")
            file.execute(_TABLE)
        except sqlite3.Error:
            file.close()
            raise
        finalize(self, file.close)
        return file


def _switch_to_wal(file: sqlite3.Connection) -> None:
    """Set the journal mode; SQLite itself does not wait here for another process's lock."""
    until = monotonic() + _BUSY
    while True:
        try:
            file.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or monotonic() > until:
                raise
        sleep(0.01)


def _used(file: sqlite3.Connection) -> int:
    """The bytes of the file that hold something."""
    size, pages, free = (
        file.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_size", "page_count", "freelist_count")
    )
    return int(size * (pages - free))


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
