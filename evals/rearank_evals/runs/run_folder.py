"""What a run leaves on disk, so that it can go on after a crash, and be checked later.

DIR/report.json, details.json, report.md, report.html
DIR/COLLECTION/collection.json    what was measured on
DIR/COLLECTION/qrels.txt          its judgements, as TREC writes them
DIR/COLLECTION/SYSTEM/manifest.json    what the run depends on
DIR/COLLECTION/SYSTEM/records.jsonl    a Ranking a line, `run` being the query's id
DIR/COLLECTION/SYSTEM/run.txt          the run, as TREC writes it
DIR/COLLECTION/SYSTEM/shuffle-1/       the same again for candidates in another order
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
from rearank_evals.runs.json_files import claim

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["ReportEntry", "RunFolder", "folder_name"]


def folder_name(name: str) -> str:
    """A name as one of a folder: `vllm:org/name` is `vllm%3Aorg%2Fname`."""
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
        """The file with a record a query."""
        return self.folder / "records.jsonl"

    @property
    def run(self) -> Path:
        """The file with the run."""
        return self.folder / "run.txt"

    @property
    def manifest(self) -> Path:
        """The file with what the run depends on."""
        return self.folder / "manifest.json"

    def claim(self, manifest: Mapping[str, Any]) -> None:
        """Take the folder for a run that depends on this; one that was begun may go on.

        How many queries are asked `at once` may change on the way.

        Raises:
            InputError: the folder holds a run that depends on something else, or on nobody
                knows what.
            SetupError: it cannot be written.
        """
        if self.records.exists() and not self.manifest.exists():
            raise InputError(f"{self.folder} has records without a manifest; delete that folder")
        claim(self.manifest, manifest, free={"at once"})

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other programs from writing here at the same time, on systems that can.

        Raises:
            InputError: another one does.
        """
        with self.manifest.open("rb") as file:
            if fcntl:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    raise InputError(f"another eval is at work in {self.folder}") from None
            yield

    def mend(self) -> bool:
        """Cut off a last record that was not written whole; whether there was one.

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
        """The records; of several about one query, which was asked again, the last.

        Args:
            queries: those that are wanted; None for all.

        Raises:
            InputError: a record cannot be read.
        """
        last = {_head(line): number for number, line in enumerate(self._lines(), 1)}
        if queries is not None:
            wanted = [
                _head(Ranking(query, "", "", "", "", ()).to_json().encode()) for query in queries
            ]
            last = {head: last[head] for head in wanted if head in last}
        chosen = set(last.values())
        for number, line in enumerate(self._lines(), 1):
            if number in chosen:
                try:
                    yield Ranking.from_json(line)
                except InputError as error:
                    raise InputError(
                        f"{self.records}, line {number}: {error}; without that line its query "
                        "is asked again"
                    ) from None

    def append(self, ranking: Ranking) -> None:
        """Keep a record: it is on its way to the disk when this returns.

        Raises:
            SetupError: it cannot be written; what was kept before stays whole.
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
        """The run as it was written; empty if no query had a candidate.

        Raises:
            InputError: it was never finished, or is damaged.
        """
        if not self.run.exists():
            raise InputError(
                f"{self.run} is not there: the run was not finished, or it was deleted"
            )
        return read_run(self.run) if self.run.stat().st_size else {}


@dataclass(frozen=True)
class ReportEntry:
    """A system on a collection, as the report names them, and where its run lies.

    Attributes:
        shuffles: how many repetitions with shuffled candidates belong to it.
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
        """What was measured on."""
        return self.saved.folder.parent / "collection.json"

    @property
    def qrels(self) -> Path:
        """The collection's judgements."""
        return self.saved.folder.parent / "qrels.txt"


def _head(line: bytes) -> bytes:
    """The beginning of a record, which names its query."""
    return line.partition(b', "query": ')[0]


def _readable(line: bytes) -> bool:
    try:
        Ranking.from_json(line)
    except InputError:
        return False
    return True
