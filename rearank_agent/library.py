"""A folder of files as a searchable collection of passages.

Every file is cut once and kept, with a BM25 index, in the user's cache folder; a file is read
again when its size or time has changed.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from time import perf_counter
from typing import Any

import bm25s
import numpy as np
from pathspec import GitIgnoreSpec

from rearank_agent.cutting import Piece
from rearank_agent.errors import InputError
from rearank_agent.evidence import Terms, content
from rearank_agent.lexical import bm25
from rearank_agent.passage import Fault, Passage, check_text
from rearank_agent.reading import Note, Reading, read

__all__ = ["Found", "Library", "cache_folder"]

VERSION = 1
"""Of the index; another one is made anew."""

_NEVER = ("__pycache__", "node_modules")

Told = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Found:
    """What a search gives.

    Attributes:
        passages: best first, with BM25's score; none without a word of the query.
        faults: what was left out of the collection, and why.
        seconds: how long each part took: look, read, index, search.
    """

    passages: tuple[Passage, ...]
    faults: tuple[Fault, ...]
    seconds: dict[str, float]


@dataclass(slots=True)
class _File:
    """A file as it was when it was read."""

    size: int
    time: int
    reading: Reading


@dataclass(slots=True)
class _Look:
    """The files below the roots, and what was passed over."""

    files: dict[str, tuple[int, int]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)


def cache_folder() -> Path:
    """Where this system keeps what can be made again, for this user."""
    home = Path.home()
    if sys.platform == "darwin":
        base = home / "Library" / "Caches"
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return base / "rearank-agent"


class Library:
    """The files below some roots.

    Attributes:
        roots: folders, or files; nothing outside them is ever read, through links neither.
        cache: the folder for indexes, made readable for its owner alone.

    Raises:
        InputError: no roots, or one that is not there.
    """

    def __init__(self, roots: Sequence[Path], cache: Path | None = None) -> None:
        if not roots:
            raise InputError("there is no folder to search")
        for root in roots:
            if not root.exists():
                raise InputError(f"there is no file or folder {root}")
        self.roots = tuple(roots)
        real = "\n".join(sorted(str(root.resolve()) for root in roots))
        shown = "\n".join(map(str, roots))
        name = sha256(f"{real}\n\n{shown}".encode(errors="surrogateescape")).hexdigest()[:16]
        self._folder = (cache or cache_folder()) / "search" / name

    def search(self, query: str, depth: int = 50, progress: Told | None = None) -> Found:
        """The passages that share most with the query, by BM25.

        Args:
            query: what is asked.
            depth: the most passages to give.
            progress: called with files read and files to read.

        Raises:
            InputError: an empty query, or no text below the roots.
        """
        check_text(query, "the query")
        if not query.strip():
            raise InputError("the query is empty")
        clock, seconds = _Clock(), {}
        look = self._look()
        seconds["look"] = clock()
        kept, index, faults = self._load()
        seconds["load"] = clock()
        stale = [p for p, stat in look.files.items() if p not in kept or _stat(kept[p]) != stat]
        gone = kept.keys() - look.files.keys()
        files = {p: kept[p] for p in look.files if p in kept}
        for number, path in enumerate(stale, 1):
            files[path] = _File(*look.files[path], read(Path(path)))
            if progress:
                progress(number, len(stale))
        seconds["read"] = clock()
        passages = [p for path in look.files for p in _passages(path, files[path].reading.pieces)]
        faults += [*look.faults, *_noted(files)]
        if not passages:
            why = f"; left out: {faults[0].detail}" if faults else ""
            raise InputError(f"no text below {', '.join(map(str, self.roots))}{why}")
        changed = any(_has_text(path, kept, files) for path in {*stale, *gone})
        if index is None or changed:
            index = bm25([content(passage.content) for passage in passages])
        if gone or any(files[path].reading.lasting for path in stale):
            faults += self._keep(files, index)
        seconds["index"] = clock()
        best = _best(index, query, passages, depth)
        seconds["search"] = clock()
        return Found(best, tuple(faults), seconds)

    def resolve(self, path: str) -> Path:
        """The real path of a file below the roots.

        Raises:
            InputError: it is not there, or leads outside, by `..`, as absolute path or by a link.
        """
        for root in self.roots:
            base = root.resolve()
            inside = (base / path).resolve() if base.is_dir() else base
            if inside.exists() and inside.is_relative_to(base) and not Path(path).is_absolute():
                return inside
        raise InputError(f"{path} is not below {', '.join(map(str, self.roots))}")

    def _look(self) -> _Look:
        look = _Look()
        bases = [root.resolve() for root in self.roots]
        for root in self.roots:
            if root.is_dir():
                _walk(root, (), bases, look)
            else:
                stat = root.stat()
                look.files[str(root)] = (stat.st_size, stat.st_mtime_ns)
        return look

    def _load(self) -> tuple[dict[str, _File], bm25s.BM25 | None, list[Fault]]:
        """What was kept; nothing, with a fault, if that is damaged."""
        place = self._folder / "index"
        if not place.exists():
            return {}, None, []
        try:
            data = json.loads((place / "files.json").read_text("utf-8"))
            if data["version"] != VERSION:
                return {}, None, []
            files = {path: _file(*rest) for path, rest in data["files"].items()}
            return files, bm25s.BM25.load(str(place), load_corpus=False), []
        except Exception as error:  # whatever a damaged file makes its reader raise
            detail = f"the index in {place} was damaged ({type(error).__name__}) and made anew"
            return {}, None, [Fault("cache", (), detail)]

    def _keep(self, files: dict[str, _File], index: bm25s.BM25) -> list[Fault]:
        """Write beside, then swap: a kill leaves the old index, or none."""
        lasting = {path: file for path, file in files.items() if file.reading.lasting}
        rows = {p: (f.size, f.time, *_row(f.reading)) for p, f in lasting.items()}
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            new = Path(tempfile.mkdtemp(prefix="new-", dir=self._folder))
            index.save(str(new), show_progress=False)
            text = json.dumps({"version": VERSION, "files": rows})
            (new / "files.json").write_text(text, "utf-8")
            place, old = self._folder / "index", new.with_name(new.name.replace("new-", "old-"))
            if place.exists():
                place.rename(old)
            new.rename(place)
            for left in (*self._folder.glob("old-*"), *self._folder.glob("new-*")):
                shutil.rmtree(left, ignore_errors=True)
        except OSError as error:
            detail = f"the index could not be kept in {self._folder}: {error.strerror or error}"
            return [Fault("cache", (), detail)]
        return []


class _Clock:
    def __init__(self) -> None:
        self._last = perf_counter()

    def __call__(self) -> float:
        """Seconds since the last call."""
        last, self._last = self._last, perf_counter()
        return self._last - last


def _walk(
    folder: Path, specs: tuple[tuple[Path, GitIgnoreSpec], ...], bases: list[Path], look: _Look
) -> None:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        ignore = folder / ".gitignore"
        if ignore.is_file() and not ignore.is_symlink():
            lines = ignore.read_text("utf-8", errors="replace").splitlines()
            specs = (*specs, (folder, GitIgnoreSpec.from_lines(lines)))
    except OSError as error:
        detail = f"{folder} cannot be read ({error.strerror or error})"
        look.faults.append(Fault("unreadable", (str(folder),), detail))
        return
    for entry in entries:
        path = Path(entry.path)
        if entry.name.startswith(".") or entry.name in _NEVER or _ignored(entry, specs):
            continue
        if entry.is_symlink():
            if not any(path.resolve().is_relative_to(base) for base in bases):
                detail = f"{path} is a link that leads outside"
                look.faults.append(Fault("outside", (str(path),), detail))
        elif entry.is_dir():
            _walk(path, specs, bases, look)
        elif entry.is_file():
            try:
                stat = entry.stat()
            except OSError:
                continue  # gone since the folder was listed
            look.files[str(path)] = (stat.st_size, stat.st_mtime_ns)


def _ignored(entry: os.DirEntry[str], specs: tuple[tuple[Path, GitIgnoreSpec], ...]) -> bool:
    """As git has it: the deepest .gitignore with an opinion decides."""
    slash = "/" if entry.is_dir(follow_symlinks=False) else ""
    for base, spec in reversed(specs):
        verdict = spec.check_file(Path(entry.path).relative_to(base).as_posix() + slash).include
        if verdict is not None:
            return verdict
    return False


def _passages(path: str, pieces: Sequence[Piece]) -> Iterator[Passage]:
    shown = path.encode(errors="replace").decode()
    for piece in pieces:
        lines = f"{piece.start}-{piece.end}" if piece.end > piece.start else f"{piece.start}"
        place = f"{shown}:{lines}"
        part = f"#{piece.part}" if piece.part > 1 else ""
        yield Passage(place + part, piece.text, piece.title, place=place, meta=piece.meta)


def _best(
    index: bm25s.BM25, query: str, passages: Sequence[Passage], depth: int
) -> tuple[Passage, ...]:
    known = [token for token in Terms.of(query).tokens if token in index.vocab_dict]
    if not known:
        return ()
    scores = index.get_scores(known)
    order = np.argsort(-scores, kind="stable")[:depth]
    return tuple(
        Passage(p.id, p.text, p.title, float(scores[i]), p.place, p.meta)
        for i in order if scores[i] > 0
        for p in (passages[i],)
    )  # fmt: skip


def _noted(files: dict[str, _File]) -> Iterator[Fault]:
    for path, file in files.items():
        for note in file.reading.notes:
            where = f"{path}, line {note.line}" if note.line else path
            yield Fault(note.kind, (path,), f"{where} {note.why}")


def _has_text(path: str, *states: dict[str, _File]) -> bool:
    return any(path in files and files[path].reading.pieces for files in states)


def _stat(file: _File) -> tuple[int, int]:
    return file.size, file.time


def _row(reading: Reading) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    return [asdict(piece) for piece in reading.pieces], [asdict(note) for note in reading.notes]


def _file(size: int, time: int, pieces: list[dict[str, Any]], notes: list[dict[str, Any]]) -> _File:
    reading = Reading(tuple(Piece(**p) for p in pieces), tuple(Note(**n) for n in notes))
    return _File(size, time, reading)
