"""A folder of files as a searchable collection of passages.

Every file is cut once and kept, with a BM25 index, in the user's cache folder; a file is read
again when its size or time has changed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from threading import Lock
from time import perf_counter

from rearank_agent.errors import InputError
from rearank_agent.search.chunk import Chunk
from rearank_agent.search.extract import Note, extract
from rearank_agent.search.folder import File, Walk, resolve_roots, strip_lines
from rearank_agent.search.index import Index, IndexedFile
from rearank_agent.settings import cache_folder
from rearank_agent.text import QueryTerms, content_tokens
from rearank_agent.types import Fault, Passage, check_text

__all__ = ["EmptyError", "Library", "SearchResult"]

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What a search gives.

    Attributes:
        passages: best first, with BM25's score; none without a word of the query.
        faults: what was left out of the collection, and why; each reason once, `ids` are places.
        seconds: how long each part took: look, load, read, index, search.
    """

    passages: tuple[Passage, ...]
    faults: tuple[Fault, ...]
    seconds: dict[str, float]


class EmptyError(InputError):
    """There is no text below the roots."""


class Library:
    """The files below some roots; safe to search from several threads.

    Attributes:
        roots: folders, or files; nothing outside them is ever read, through links neither.
        worker: a thread for who cannot wait: searches follow each other, and one that was given
            up before its turn is never begun.

    Raises:
        InputError: no roots, or one that is not there.
    """

    def __init__(self, roots: Sequence[Path], cache: Path | None = None) -> None:
        self.roots = resolve_roots(roots)
        real = "\n".join(str(root.real) for root in self.roots)
        name = sha256(real.encode()).hexdigest()[:16]
        self._kept = (cache or cache_folder()) / "search" / f"{name}.npz"
        self._shelf: Index | None = None
        self._lock = Lock()
        self.worker = ThreadPoolExecutor(1, "rearank-library")

    def search(
        self, query: str, depth: int = 50, within: str = "", progress: Progress | None = None
    ) -> SearchResult:
        """The passages that share most with the query, by BM25.

        Args:
            query: what is asked.
            depth: the most passages to give, from 1.
            within: a folder or file below the roots that all of them come from; "" for all.
            progress: called with files read and files to read.

        Raises:
            InputError: an empty query, a depth below 1, or `within` leads outside the roots or
                to nothing that is searched.
            EmptyError: no text below the roots.
        """
        check_text(query, "the query")
        if not query.strip():
            raise InputError("the query is empty")
        if depth < 1:
            raise InputError(f"the depth must be at least 1, not {depth}")
        wanted = self._wanted(within)
        seconds: dict[str, float] = {}
        with self._lock:
            shelf, notes = self._refreshed(seconds, progress)
        faults = _faults(notes)
        if not shelf.lines:
            why = f"; left out: {faults[0].detail}" if faults else ""
            raise EmptyError(f"no text below {', '.join(str(r.named) for r in self.roots)}{why}")
        if within and not any(wanted(one.file) for one in shelf.held):
            raise InputError(f"{within!r:.80} holds no text that is searched")
        start = perf_counter()
        best = shelf.best(QueryTerms.of(query).tokens, depth, wanted)
        passages = tuple(self._passage(*shelf.at(position), score) for position, score in best)
        seconds["search"] = perf_counter() - start
        return SearchResult(passages, faults, seconds)

    def resolve(self, place: str) -> Path:
        """The real path of a file that is searched, by its place or its path below a root.

        Raises:
            InputError: it is not there, is hidden or ignored, or leads outside, by `..`, as
                absolute path or by a link.
        """
        return Walk(self.roots).find(place)

    def _wanted(self, within: str) -> Callable[[File], bool]:
        """Whether a file is the one named, or lies below the folder named, in any of the roots."""
        check_text(within, "the path to search")
        if not within:
            return lambda _: True
        tops = [str(root.real).rstrip(os.sep) + os.sep for root in self.roots]
        named = [f"{real}{os.sep}" for real in self._below(within)]
        if not named:
            roots = ", ".join(str(root.named) for root in self.roots)
            raise InputError(f"{within!r:.80} is no file or folder below {roots}")
        return lambda file: any(
            f"{tops[file.root]}{file.path}{os.sep}".startswith(name) for name in named
        )

    def _below(self, within: str) -> set[Path]:
        """What a path, or the place of a passage, names below the roots."""
        found = set()
        for path in (within, strip_lines(within)):
            for base in (Path(), *(root.real for root in self.roots)):
                try:
                    real = (base / path).resolve(strict=True)
                except (OSError, RuntimeError, ValueError):
                    continue
                if any(real.is_relative_to(root.real) for root in self.roots):
                    found.add(real)
        return found

    def _refreshed(
        self, seconds: dict[str, float], progress: Progress | None
    ) -> tuple[Index, list[tuple[str, Note]]]:
        """What stands below the roots now, and what was left out."""
        clock = _Clock(seconds)
        walk = Walk(self.roots)
        notes = list(walk.notes)
        clock("look")
        if self._shelf is None:
            self._shelf, damage = Index.load(self._kept)
            notes += [(str(self._kept), note) for note in damage]
        clock("load")
        held = self._read(walk.files, self._shelf.held, progress)
        clock("read")
        lasting = tuple(one for one in held if one.lasting)
        if [one.file for one in lasting] != [one.file for one in self._shelf.held]:
            self._shelf = Index.of(lasting)
            notes += [(str(self._kept), note) for note in self._shelf.save(self._kept)]
        clock("index")
        notes += [(self._place(one.file, note.line), note) for one in held for note in one.notes]
        return self._shelf, notes

    def _read(
        self, files: Sequence[File], held: Iterable[IndexedFile], progress: Progress | None
    ) -> list[IndexedFile]:
        """Every file as it is now; only what changed is read."""
        known = {one.file: one for one in held}
        stale = sum(file not in known for file in files)
        done, every = 0, []
        for file in files:
            one = known.get(file)
            if one is None:
                one = self._cut(file)
                done += 1
                if progress:
                    progress(done, stale)
            every.append(one)
        return every

    def _cut(self, file: File) -> IndexedFile:
        reading = extract(self.roots[file.root].real / file.path)
        lines = tuple(json.dumps(list(asdict(p).values())).encode() for p in reading.pieces)
        words = (" ".join(content_tokens(f"{p.title}\n{p.text}")).encode() for p in reading.pieces)
        return IndexedFile(file, lines, tuple(words), reading.notes, reading.lasting)

    def _passage(self, file: File, line: bytes, score: float) -> Passage:
        piece = Chunk(*json.loads(line))
        place = self._place(file, piece.start, piece.end)
        part = f"#{piece.part}" if piece.part > 1 else ""
        return Passage(place + part, piece.text, piece.title, score, place, piece.meta)

    def _place(self, file: File, start: int, end: int = 0) -> str:
        lines = f"{start}-{end}" if end > start else f"{start}"
        return f"{self.roots[file.root].place(file.path)}{f':{lines}' if start else ''}"


class _Clock:
    """Notes how long each part took."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self._seconds, self._last = seconds, perf_counter()

    def __call__(self, part: str) -> None:
        """End a part."""
        last, self._last = self._last, perf_counter()
        self._seconds[part] = self._last - last


def _faults(notes: Iterable[tuple[str, Note]]) -> tuple[Fault, ...]:
    """One fault a reason: a folder of pictures is one fault, not a thousand."""

    def reason(noted: tuple[str, Note]) -> tuple[str, str]:
        return noted[1].kind, noted[1].why

    faults = []
    for (kind, why), group in groupby(sorted(notes, key=reason), reason):
        places = tuple(place for place, _ in group)
        more = f" (and {len(places) - 1} more)" if len(places) > 1 else ""
        faults.append(Fault(kind, places, f"{places[0]} {why}{more}"))
    return tuple(faults)
