"""Search over the passages of folders of files, by words (BM25) and by meaning (vectors).

The chunks of every file are stored, with a BM25 index, in the user's cache folder; a file is
read again when its size or time of change differs. Vectors are kept apart, by a hash of the text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import sha256
from pathlib import Path
from threading import Lock
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from rearank_agent.errors import InputError, SetupError
from rearank_agent.search.chunk import Chunk
from rearank_agent.search.convert import Converter
from rearank_agent.search.extract import Extraction, extract
from rearank_agent.search.fill import Background, fill
from rearank_agent.search.folder import File, Walk, resolve_roots
from rearank_agent.search.fuse import fused, words_weight
from rearank_agent.search.index import Index, IndexedFile
from rearank_agent.search.place import place_of
from rearank_agent.search.result import EmptyError, SearchResult
from rearank_agent.search.tokens import names_identifier, query_tokens
from rearank_agent.search.unread import FileFault, grouped
from rearank_agent.search.vectors import IndexVectors
from rearank_agent.search.within import Within
from rearank_agent.settings import cache_folder
from rearank_agent.types import Fault, Passage, check_text

__all__ = ["Library"]

Progress = Callable[[int, int], None]


class Library:
    """The files below some roots; safe to search from several threads.

    Attributes:
        roots: folders, or files; nothing outside them is ever read, through links neither.
        worker: a thread for asynchronous callers: searches run one after the other, and one that
            is cancelled before its turn never starts.
        vectors: those of its passages; None for a search by words alone.
        background: makes those that are missing, once it is started; None as above.

    Args:
        cache: the folder of the index and the vectors; None for the user's.
        by_meaning: whether vectors are used, and kept.

    Raises:
        InputError: no roots, or one that is not there.
    """

    def __init__(
        self, roots: Sequence[Path], cache: Path | None = None, by_meaning: bool = True
    ) -> None:
        self.roots = resolve_roots(roots)
        real = "\n".join(str(root.real) for root in self.roots)
        name = sha256(real.encode()).hexdigest()[:16]
        cache = cache or cache_folder()
        self._index_path = cache / "search" / f"{name}.npz"
        self.vectors = IndexVectors(cache) if by_meaning else None
        encodes = self.vectors.passages if self.vectors else None
        self.background = Background(encodes, self.without_vectors) if encodes else None
        self._index: Index | None = None
        self._last_read: tuple[File, Extraction] | None = None
        self._lock = Lock()
        self.worker = ThreadPoolExecutor(1, "rearank-library")

    def search(
        self, query: str, depth: int = 50, within: str = "", progress: Progress | None = None
    ) -> SearchResult:
        """The best passages for the query by BM25 and vectors, without a policy's judgement.

        Args:
            query: what is asked.
            depth: the maximum number of passages, from 1.
            within: a folder or file below the roots that all of them come from; "" for all.
            progress: called with files read and files to read.

        Raises:
            InputError: an empty query, a depth below 1, or `within` is outside the roots or has
                no text that is searched.
            EmptyError: no text below the roots.
        """
        check_text(query, "the query")
        if not query.strip():
            raise InputError("the query is empty")
        if depth < 1:
            raise InputError(f"the depth must be at least 1, not {depth}")
        named = Within(self.roots, within)
        seconds: dict[str, float] = {}
        with self._lock:
            index, file_faults = self._refresh(seconds, progress)
            start = perf_counter()
            cosines, known, unread = self._cosines(query, index, depth)
            seconds["vectors"] = perf_counter() - start
        faults = (*grouped(named.faults(file_faults)), *unread)
        if not index.lines:
            raise EmptyError(
                f"no text below {', '.join(str(r.named) for r in self.roots)}{_why(faults)}"
            )
        if within and not any(one.file in named and one.lines for one in index.files):
            raise InputError(f"{within!r:.80} holds no text that is searched{_why(faults)}")
        start, wanted = perf_counter(), index.mask(named.__contains__)
        bm25 = index.scores(query_tokens(query))
        best = fused(bm25, cosines, wanted, depth)
        passages = tuple(self._passage(*index.at(at), float(bm25[at])) for at in best)
        seconds["search"] = perf_counter() - start
        compared = float((~np.isnan(cosines[wanted])).mean())
        weight = words_weight(compared, names_identifier(query))
        return SearchResult(passages, float(known[wanted].mean()), weight, faults, seconds)

    def _cosines(
        self, query: str, index: Index, depth: int
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_], tuple[Fault, ...]]:
        """How near each passage lies to the query, or not a number; and whether it has a vector.

        Where fewer vectors are missing than a policy would make for its ranking, they are made.
        """
        if self.vectors is None:
            n = len(index.lines)
            return np.full(n, np.nan, np.float32), np.zeros(n, bool), ()
        faults = self.vectors.refresh(index)
        missing = np.flatnonzero(~self.vectors.known)
        if not faults and 0 < len(missing) <= depth:
            fill(self.vectors.passages, index, missing.tolist())
            faults = self.vectors.refresh(index)
        return self.vectors.cosines(query), self.vectors.known.copy(), faults

    def without_vectors(
        self, progress: Progress | None = None
    ) -> tuple[Index, list[int], tuple[Fault, ...]]:
        """The index of the files as they are now, and the passages without a vector in it.

        Returns:
            The index; positions, those of files that changed last first; what was left out.

        Raises:
            SetupError: the vectors that are kept cannot be read.
        """
        with self._lock:
            index, file_faults = self._refresh({}, progress)
            if self.vectors is None:
                return index, [], grouped(file_faults)
            if faults := self.vectors.refresh(index):
                raise SetupError(faults[0].detail)
            known = self.vectors.known
        ages = np.repeat([-one.file.mtime for one in index.files], index.sizes)
        order = np.argsort(ages, kind="stable")
        return index, order[~known[order]].tolist(), grouped(file_faults)

    def read(self, place: str) -> tuple[str, str, Extraction]:
        """A file by its place or its path below a root: its path, the lines named, its text.

        The file read last is kept, since converting a document takes seconds.

        Raises:
            InputError: it does not exist, is hidden or ignored, leads outside by `..`, an
                absolute path or a link, or holds no text.
        """
        with Walk(self.roots) as walk, Converter() as converter:
            file, lines = walk.find(place)
            path, last = self._place(file, 0), self._last_read
            found = last[1] if last and last[0] == file else self._text(file, walk, converter)
        if not found.chunks:
            why = found.faults[0].reason if found.faults else "holds no text"
            raise InputError(f"{path} {why}")
        self._last_read = file, found
        return path, lines, found

    def _refresh(
        self, seconds: dict[str, float], progress: Progress | None
    ) -> tuple[Index, list[tuple[str, FileFault]]]:
        """The index of the files as they are now, and what was left out."""
        end_part = _Timer(seconds)
        with Walk(self.roots) as walk:
            faults = list(walk.faults)
            end_part("look")
            if self._index is None:
                self._index, damage = Index.load(self._index_path)
                faults += [(str(self._index_path), fault) for fault in damage]
            end_part("load")
            files = self._read(walk, self._index.files, progress)
        end_part("read")
        cacheable = tuple(one for one in files if one.cacheable)
        if [one.file for one in cacheable] != [one.file for one in self._index.files]:
            self._index = Index.of(cacheable)
            unsaved = self._index.save(self._index_path)
            faults += [(str(self._index_path), fault) for fault in unsaved]
        end_part("index")
        for one in files:
            faults += [(self._place(one.file, fault.line), fault) for fault in one.faults]
        return self._index, faults

    def _read(
        self, walk: Walk, indexed: Iterable[IndexedFile], progress: Progress | None
    ) -> list[IndexedFile]:
        """Every file as it is now; only changed files are read."""
        known = {one.file: one for one in indexed}
        stale = sum(file not in known for file in walk.files)
        done, current = 0, []
        with Converter() as converter:
            for file in walk.files:
                one = known.get(file)
                if one is None:
                    one = IndexedFile.of(file, self._text(file, walk, converter))
                    done += 1
                    if progress:
                        progress(done, stale)
                current.append(one)
        return current

    def _text(self, file: File, walk: Walk, converter: Converter) -> Extraction:
        name = file.path or self.roots[file.root].real.name
        open_file = partial(walk.held[file.root].open, file.path)
        return extract(name, open_file, converter.convert, not file.path)

    def _passage(self, file: File, line: bytes, score: float) -> Passage:
        chunk = Chunk(*json.loads(line))
        place = self._place(file, chunk.start, chunk.end)
        part = f"#{chunk.part}" if chunk.part > 1 else ""
        return Passage(place + part, chunk.text, chunk.title, score, place, chunk.meta)

    def _place(self, file: File, start: int, end: int = 0) -> str:
        path = self.roots[file.root].place(file.path)
        return place_of(path, start, end) if start else path


class _Timer:
    """Records how long each part took."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self._seconds, self._last = seconds, perf_counter()

    def __call__(self, part: str) -> None:
        """Record the time since the last part."""
        last, self._last = self._last, perf_counter()
        self._seconds[part] = self._last - last


def _why(faults: Sequence[Fault]) -> str:
    return f"; left out: {faults[0].detail}" if faults else ""
