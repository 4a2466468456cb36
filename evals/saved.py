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

import json
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from evals.files import unwritable, write
from rearank_agent.errors import InputError
from rearank_agent.passage import Ranking
from rearank_agent.trec import read_run, run_text

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["Entry", "Saved", "claim", "named", "read_json"]


def named(name: str) -> str:
    """A name as one of a folder: `vllm:org/name` is `vllm%3Aorg%2Fname`."""
    return quote(name, safe=" ()@,") if name.strip(".") else name.replace(".", "%2E")


@dataclass(frozen=True)
class Saved:
    """The folder of one system on one collection."""

    folder: Path

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

        Raises:
            InputError: the folder holds a run that depends on something else.
            SetupError: it cannot be written.
        """
        claim(self.manifest, manifest)

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
        if not self.records.exists():
            return False
        whole = self.records.read_bytes()
        kept = whole[: whole.rfind(b"\n") + 1]
        last = kept[kept.rfind(b"\n", 0, -1) + 1 :]
        if last and not _readable(last):
            kept = kept[: -len(last)]
        if len(kept) < len(whole):
            try:
                os.truncate(self.records, len(kept))
            except OSError as error:
                raise unwritable(self.records, error) from None
        return len(kept) < len(whole)

    def rankings(self, queries: Collection[str] | None = None) -> Iterator[Ranking]:
        """Every record; where a query was asked again there are several, the last one counts.

        Args:
            queries: those that are wanted; None for all.

        Raises:
            InputError: a record cannot be read.
        """
        if not self.records.exists():
            return
        wanted = None if queries is None else tuple(_head(query) for query in queries)
        with self.records.open("rb") as file:
            for number, line in enumerate(file, 1):
                if wanted is not None and not line.startswith(wanted):
                    continue
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
            raise unwritable(self.records, error) from None

    def save_run(self, run: Mapping[str, tuple[str, ...]], tag: str) -> None:
        """Write the run.

        Raises:
            SetupError: it cannot be written.
        """
        write(self.run, run_text(run, tag))

    def read_run(self) -> dict[str, tuple[str, ...]]:
        """The run as it was written; empty if no query had a candidate."""
        return read_run(self.run) if self.run.stat().st_size else {}


@dataclass(frozen=True)
class Entry:
    """A system on a collection, as the report names them, and where its run lies."""

    collection: str
    system: str
    saved: Saved

    @property
    def about(self) -> dict[str, Any]:
        """What the collection's own file says."""
        return read_json(self.saved.folder.parent / "collection.json")

    @property
    def qrels(self) -> Path:
        """The collection's judgements."""
        return self.saved.folder.parent / "qrels.txt"


def claim(path: Path, values: Mapping[str, Any]) -> None:
    """Write these values, or find that they are what was written before.

    Raises:
        InputError: other values stand there; the message says which.
        SetupError: the file cannot be written.
    """
    if not path.exists():
        write(path, json.dumps(values, indent=2, ensure_ascii=False) + "\n")
        return
    begun, now = _flat(read_json(path)), _flat(values)
    keys = [key for key in dict.fromkeys([*begun, *now]) if begun.get(key) != now.get(key)]
    if keys:
        odd = "; ".join(_differs(key, begun.get(key), now.get(key)) for key in keys)
        raise InputError(
            f"{path.parent} holds a run of something else: {odd}. "
            "Give another --out, or delete that folder"
        )


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object of a file.

    Raises:
        InputError: it cannot be read.
    """
    try:
        found = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise InputError(f"{path} is damaged: {error}") from None
    if not isinstance(found, dict):
        raise InputError(f"{path} is damaged: not a JSON object")
    return found


def _head(query: str) -> bytes:
    """What the record of a query begins with."""
    return Ranking(query, "", "", "", "", ()).to_json().partition(', "query"')[0].encode() + b","


def _readable(line: bytes) -> bool:
    try:
        Ranking.from_json(line)
    except InputError:
        return False
    return True


def _differs(key: str, was: object, now: object) -> str:
    """What was and what is; of long strings only the words that are not in both."""
    if isinstance(was, str) and isinstance(now, str):
        old, new = was.split(" "), now.split(" ")
        was = " ".join(word for word in old if word not in new) or was
        now = " ".join(word for word in new if word not in old) or now
    return f"{key} was {was!r} and is {now!r}"


def _flat(values: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Nested values by dotted names."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{above}{name}.")
        else:
            flat[f"{above}{name}"] = value
    return flat
