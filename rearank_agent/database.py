"""An SQLite file for many processes and threads, made when it is first written.

SQLite because it is in the standard library and survives a killed writer: a transaction is
stored completely or not at all. (diskcache, the usual choice, unpickles what it reads:
CVE-2025-69872.)
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

__all__ = ["Database", "used_bytes"]

_BUSY = 10.0  # seconds to wait while another process writes


class Database:
    """An SQLite file; one thread at a time.

    Args:
        path: the file; readable for its owner alone.
        tables: SQL statements that make what is not there.
        page: bytes of a page of a new file; larger ones waste less where rows are large.
    """

    def __init__(self, path: Path, *tables: str, page: int = 4096) -> None:
        self.path = path
        self._tables = tables
        self._page = page
        self._lock = Lock()
        self._open: sqlite3.Connection | None = None

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection | None]:
        """The open file; None where there is none yet.

        Raises:
            SetupError: it cannot be read.
        """
        with self._errors():
            # `exists` raises where the folder may not be looked into
            yield self._file() if self.path.exists() else None

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """The open file, which is made; the `with` is a transaction.

        Raises:
            SetupError: it cannot be written.
        """
        with self._errors(), self._file() as file:
            yield file

    def _file(self) -> sqlite3.Connection:
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
            file.execute(f"PRAGMA page_size = {self._page}")
            _switch_to_wal(file)
            file.execute("PRAGMA synchronous = NORMAL")
            for table in self._tables:
                file.execute(table)
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


def used_bytes(file: sqlite3.Connection) -> int:
    """The bytes of an open file that hold something."""
    size, pages, free = (
        file.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_size", "page_count", "freelist_count")
    )
    return int(size * (pages - free))
