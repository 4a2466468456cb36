"""What was read, cut into words and indexed, kept as one file that is swapped as a whole."""

from __future__ import annotations

import json
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass, field
from itertools import accumulate
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import bm25s
import numpy as np

from rearank_agent.policies.lexical import bm25_index, bm25_search
from rearank_agent.search.extract import Note
from rearank_agent.search.folder import File

__all__ = ["Index", "IndexedFile"]

VERSION = 2
"""Of the form of the file, and of what is cut and counted; another one is made anew."""

_STALE = 3600  # seconds after which a file half written belongs to nobody


@dataclass(frozen=True, slots=True)
class IndexedFile:
    """A file as it was read.

    Attributes:
        lines: its passages, each as a line of JSON.
        words: the tokens of each passage, between spaces.
        lasting: whether reading it again would give the same.
    """

    file: File
    lines: tuple[bytes, ...] = ()
    words: tuple[bytes, ...] = ()
    notes: tuple[Note, ...] = ()
    lasting: bool = True


@dataclass(frozen=True)
class Index:
    """Files in order, and the index of all their passages; None without a single word."""

    held: tuple[IndexedFile, ...] = ()
    index: bm25s.BM25 | None = None
    lines: tuple[bytes, ...] = ()
    _ends: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, held: Sequence[IndexedFile], index: bm25s.BM25 | None = None) -> Index:
        """The shelf of these files; the index is made if it is not given."""
        if index is None:
            tokens = [words.decode().split() for one in held for words in one.words]
            index = bm25_index(tokens) if any(tokens) else None
        lines = tuple(line for one in held for line in one.lines)
        return cls(tuple(held), index, lines, list(accumulate(len(one.lines) for one in held)))

    def at(self, position: int) -> tuple[File, bytes]:
        """The passage at a position, and the file it is from."""
        return self.held[bisect_right(self._ends, position)].file, self.lines[position]

    def best(
        self, tokens: Sequence[str], depth: int, wanted: Callable[[File], bool]
    ) -> list[tuple[int, float]]:
        """Positions and BM25 scores in wanted files, best first, then in order; only above 0."""
        if self.index is None:
            return []
        here = np.repeat([wanted(one.file) for one in self.held], [len(o.lines) for o in self.held])
        return bm25_search(self.index, tokens, depth, here)

    @classmethod
    def load(cls, path: Path) -> tuple[Index, list[Note]]:
        """What was kept there; an empty shelf, with a note if it was damaged."""
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
                return cls._from(dict(kept)), []
        except (FileNotFoundError, NotADirectoryError):
            return cls(), []
        except Exception as error:  # whatever a damaged file makes its reader raise
            why = f"was damaged ({type(error).__name__}) and is made anew"
            return cls(), [Note("cache", why)]

    @classmethod
    def _from(cls, kept: dict[str, np.ndarray]) -> Index:
        head = json.loads(kept["head"].tobytes())
        if head["version"] != VERSION:
            return cls()
        lines, words = (kept[part].tobytes().split(b"\n")[:-1] for part in ("lines", "words"))
        held, start = [], 0
        for file, count, notes in head["files"]:
            part = slice(start, start := start + count)
            noted = tuple(Note(*note) for note in notes)
            held.append(IndexedFile(File(*file), tuple(lines[part]), tuple(words[part]), noted))
        vocabulary = kept["vocabulary"].tobytes().decode().split("\n")
        # made of a word, so that what the index is stands in one place
        index = bm25_index([["word"]]) if len(kept["data"]) else None
        if index:
            index.vocab_dict = {token: number for number, token in enumerate(vocabulary)}
            index.unique_token_ids_set = set(index.vocab_dict.values())
            index.scores = {part: kept[part] for part in ("data", "indices", "indptr")}
            index.scores["num_docs"] = len(lines)
        if not start == len(lines) == len(words):
            raise ValueError("the parts do not fit")
        return cls.of(held, index)

    def save(self, path: Path) -> list[Note]:
        """Keep it for its owner alone: written beside, then swapped, so that it is always whole."""
        files = [(one.file, len(one.lines), list(map(astuple, one.notes))) for one in self.held]
        head = json.dumps({"version": VERSION, "files": files}).encode()
        parts = {"head": head, "lines": b"".join(line + b"\n" for line in self.lines)}
        parts["words"] = b"".join(words + b"\n" for one in self.held for words in one.words)
        parts["vocabulary"] = "\n".join(self.index.vocab_dict if self.index else ()).encode()
        arrays: dict[str, Any] = {
            name: np.frombuffer(part, np.uint8) for name, part in parts.items()
        }
        for name in ("data", "indices", "indptr"):
            arrays[name] = self.index.scores[name] if self.index else np.zeros(0)
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _sweep(path.parent)
            with NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False) as new:
                try:
                    np.savez(new, **arrays)
                    new.close()
                    Path(new.name).replace(path)
                finally:
                    Path(new.name).unlink(missing_ok=True)
        except OSError as error:
            return [Note("cache", f"could not be written ({error.strerror or error})")]
        return []


def _sweep(folder: Path) -> None:
    """Remove what a program that was killed left half written."""
    for left in folder.glob("*.tmp"):
        with suppress(FileNotFoundError):  # another program's, swapped in meanwhile
            if time.time() - left.stat().st_mtime > _STALE:
                left.unlink()
