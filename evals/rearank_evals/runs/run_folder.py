"""The files of a run: enough to resume it after a crash, and to verify it later.

DIR/report.json, details.json, report.md, report.html
DIR/COLLECTION/collection.json    the collection's counts and hashes
DIR/COLLECTION/qrels.txt          its judgements in TREC's format
DIR/COLLECTION/SYSTEM/manifest.json    all that the run depends on
DIR/COLLECTION/SYSTEM/records.jsonl    a Ranking a line, its `run` is the query's id
DIR/COLLECTION/SYSTEM/run.txt          the run in TREC's format
DIR/COLLECTION/SYSTEM/shuffle-1/       the same files for candidates in another order
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rearank_agent.data.trec import read_run, run_text
from rearank_agent.errors import InputError
from rearank_agent.files import write_error, write_text
from rearank_agent.types import Ranking
from rearank_evals.runs.json_files import write_or_check

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["ReportEntry", "RunFolder", "folder_name"]


def folder_name(name: str) -> str:
    """A name as a folder's name: `vllm:org/name` is `vllm%3Aorg%2Fname`."""
    return quote(name, safe=" ()@,") if name.strip(".") else name.replace(".", "%2E")


@dataclass(frozen=True)
class RunFolder:
    """The folder of one system on one collection."""

    folder: Path

    def shuffle(self, number: int) -> RunFolder:
        """The folder of the same system on candidates in another order."""
        return RunFolder(self.folder / f"shuffle-{number}")

    @property
    def records(self) -> Path:
        """The file of records, one a query."""
        return self.folder / "records.jsonl"

    @property
    def run(self) -> Path:
        """The file of the run."""
        return self.folder / "run.txt"

    @property
    def manifest(self) -> Path:
        """The file of all that the run depends on."""
        return self.folder / "manifest.json"

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Write the manifest; a run that is resumed must have the same one, but for `at once`.

        Raises:
            InputError: the folder holds a run with another manifest, or records without one.
            SetupError: it cannot be written.
        """
        if self.records.exists() and not self.manifest.exists():
            raise InputError(f"{self.folder} has records without a manifest; delete that folder")
        write_or_check(self.manifest, manifest, ignore={"at once"})

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the folder, which is made, against other processes; without a lock on Windows.

        The lock is on the folder itself: a file in it is replaced when it is written, and two
        processes would each hold a lock on another one. It ends with its process.

        Raises:
            InputError: another process holds the lock.
            SetupError: the folder cannot be made.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.records.exists()  # an error where the folder may not be looked into
            held = os.open(self.folder, os.O_RDONLY) if fcntl else 0
        except OSError as error:
            raise write_error(self.folder, error) from None
        if not fcntl:
            yield
            return
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(held)
            raise InputError(
                f"another eval is running in {self.folder}; wait for it, or name another --out"
            ) from None
        try:
            yield
        finally:
            os.close(held)

    def repair(self) -> bool:
        """Remove a last record that was not written completely; whether there was one.

        Raises:
            SetupError: the file cannot be written.
        """
        start, last = 0, b""
        for line in self._lines():
            start, last = start + len(last), line
        if not last or (last.endswith(b"\n") and _readable(last)):
            return False
        try:
            os.truncate(self.records, start)
        except OSError as error:
            raise write_error(self.records, error) from None
        return True

    def _lines(self) -> Iterator[bytes]:
        if self.records.exists():
            with self.records.open("rb") as file:
                yield from file

    def rankings(self, queries: Collection[str] | None = None) -> Iterator[Ranking]:
        """The records; where a query was ranked again, its last one.

        Args:
            queries: ids of the wanted ones; None for all.

        Raises:
            InputError: a record cannot be read.
        """
        last = {_query_key(line): number for number, line in enumerate(self._lines(), 1)}
        if queries is not None:
            wanted = [
                _query_key(Ranking(query, "", "", "", "", ()).to_json().encode())
                for query in queries
            ]
            last = {key: last[key] for key in wanted if key in last}
        chosen = set(last.values())
        for number, line in enumerate(self._lines(), 1):
            if number in chosen:
                try:
                    yield Ranking.from_json(line)
                except InputError as error:
                    raise InputError(
                        f"{self.records}, line {number}: {error}; delete that line, and "
                        "its query is ranked again"
                    ) from None

    def append(self, ranking: Ranking) -> None:
        """Append a record; it is with the operating system when this returns.

        Raises:
            SetupError: it cannot be written; earlier records stay intact.
        """
        line = ranking.to_json().encode() + b"\n"
        try:
            with self.records.open("ab", buffering=0) as file:
                before = file.tell()
                written = file.write(line)
                if written != len(line):
                    file.truncate(before)
                    raise OSError(f"{written} of {len(line)} bytes could be written")
        except OSError as error:
            raise write_error(self.records, error) from None

    def save_run(self, run: Mapping[str, tuple[str, ...]], tag: str) -> None:
        """Write the run.

        Raises:
            SetupError: it cannot be written.
        """
        write_text(self.run, run_text(run, tag))

    def read_run(self) -> dict[str, tuple[str, ...]]:
        """Passage ids of every query, best first; empty if no query had a candidate.

        Raises:
            InputError: the run was not finished, or its file is damaged.
        """
        if not self.run.exists():
            raise InputError(
                f"{self.run} is not there: the run was not finished, or it was deleted"
            )
        return read_run(self.run) if self.run.stat().st_size else {}


@dataclass(frozen=True)
class ReportEntry:
    """A system on a collection: their names in the report, and the folder of the run.

    Attributes:
        shuffles: the number of its repetitions with shuffled candidates.
    """

    collection: str
    system: str
    saved: RunFolder
    shuffles: int = 0

    @property
    def shuffled(self) -> list[RunFolder]:
        """The folders of the repetitions."""
        return [self.saved.shuffle(number) for number in range(1, self.shuffles + 1)]

    @property
    def collection_file(self) -> Path:
        """The file of the collection's counts and hashes."""
        return self.saved.folder.parent / "collection.json"

    @property
    def qrels(self) -> Path:
        """The file of the collection's judgements."""
        return self.saved.folder.parent / "qrels.txt"


def _query_key(line: bytes) -> bytes:
    """The beginning of a record, which has its query's id."""
    return line.partition(b', "query": ')[0]


def _readable(line: bytes) -> bool:
    try:
        Ranking.from_json(line)
    except InputError:
        return False
    return True
