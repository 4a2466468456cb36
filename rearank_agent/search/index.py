"""A BM25 index over the chunks of files, stored as one file that is replaced atomically."""

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
from rearank_agent.search.folder import File
from rearank_agent.search.unread import FileFault

__all__ = ["Index", "IndexedFile"]

VERSION = 4
"""Of the file format, the chunks and the tokens; a file of another version is rebuilt."""

_STALE = 3600  # seconds after which a temporary file is taken to be abandoned


@dataclass(frozen=True, slots=True)
class IndexedFile:
    """A file with its chunks and tokens.

    Attributes:
        lines: its chunks, each as a line of JSON.
        tokens: the tokens of each chunk, between spaces.
        cacheable: whether reading it again would give the same.
    """

    file: File
    lines: tuple[bytes, ...] = ()
    tokens: tuple[bytes, ...] = ()
    faults: tuple[FileFault, ...] = ()
    cacheable: bool = True


@dataclass(frozen=True)
class Index:
    """Files in order, and BM25 over all their chunks; None without a single token."""

    files: tuple[IndexedFile, ...] = ()
    bm25: bm25s.BM25 | None = None
    lines: tuple[bytes, ...] = ()
    _ends: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, files: Sequence[IndexedFile], bm25: bm25s.BM25 | None = None) -> Index:
        """The index of these files; BM25 is built if it is not given."""
        if bm25 is None:
            tokens = [chunk.decode().split() for one in files for chunk in one.tokens]
            bm25 = bm25_index(tokens) if any(tokens) else None
        lines = tuple(line for one in files for line in one.lines)
        return cls(tuple(files), bm25, lines, list(accumulate(len(one.lines) for one in files)))

    def at(self, position: int) -> tuple[File, bytes]:
        """The file and the JSON line of the chunk at a position."""
        return self.files[bisect_right(self._ends, position)].file, self.lines[position]

    def search(
        self, tokens: Sequence[str], depth: int, wanted: Callable[[File], bool]
    ) -> list[tuple[int, float]]:
        """Positions and BM25 scores in wanted files, best first, then in order; only above 0."""
        if self.bm25 is None:
            return []
        sizes = [len(one.lines) for one in self.files]
        mask = np.repeat([wanted(one.file) for one in self.files], sizes)
        return bm25_search(self.bm25, tokens, depth, mask)

    @classmethod
    def load(cls, path: Path) -> tuple[Index, list[FileFault]]:
        """The stored index; an empty one where there is none, with a fault if it was damaged."""
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                return cls._from(dict(arrays)), []
        except (FileNotFoundError, NotADirectoryError):
            return cls(), []
        except OSError as error:
            return cls(), [FileFault("cache", f"could not be read ({error.strerror or error})")]
        except Exception as error:  # np.load may raise anything on a damaged file
            reason = f"was damaged ({type(error).__name__}) and is rebuilt"
            return cls(), [FileFault("cache", reason)]

    @classmethod
    def _from(cls, arrays: dict[str, np.ndarray]) -> Index:
        head = json.loads(arrays["head"].tobytes())
        if head["version"] != VERSION:
            return cls()
        lines, tokens = (arrays[part].tobytes().split(b"\n")[:-1] for part in ("lines", "words"))
        files, start = [], 0
        for file, count, rows in head["files"]:
            part = slice(start, start := start + count)
            faults = tuple(FileFault(*row) for row in rows)
            files.append(IndexedFile(File(*file), tuple(lines[part]), tuple(tokens[part]), faults))
        vocabulary = arrays["vocabulary"].tobytes().decode().split("\n")
        # built from one word, so that the settings of BM25 are in `bm25_index` alone
        bm25 = bm25_index([["word"]]) if len(arrays["data"]) else None
        if bm25:
            bm25.vocab_dict = {token: number for number, token in enumerate(vocabulary)}
            bm25.unique_token_ids_set = set(bm25.vocab_dict.values())
            bm25.scores = {part: arrays[part] for part in ("data", "indices", "indptr")}
            bm25.scores["num_docs"] = len(lines)
        if not start == len(lines) == len(tokens):
            raise ValueError("the parts differ in length")
        return cls.of(files, bm25)

    def save(self, path: Path) -> list[FileFault]:
        """Store it for its owner alone, atomically: a temporary file replaces the old one."""
        files = [(one.file, len(one.lines), list(map(astuple, one.faults))) for one in self.files]
        head = json.dumps({"version": VERSION, "files": files}).encode()
        parts = {"head": head, "lines": b"".join(line + b"\n" for line in self.lines)}
        parts["words"] = b"".join(tokens + b"\n" for one in self.files for tokens in one.tokens)
        parts["vocabulary"] = "\n".join(self.bm25.vocab_dict if self.bm25 else ()).encode()
        arrays: dict[str, Any] = {
            name: np.frombuffer(part, np.uint8) for name, part in parts.items()
        }
        for name in ("data", "indices", "indptr"):
            arrays[name] = self.bm25.scores[name] if self.bm25 else np.zeros(0)
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
            return [FileFault("cache", f"could not be written ({error.strerror or error})")]
        return []


def _sweep(folder: Path) -> None:
    """Remove abandoned temporary files of killed programs."""
    for left in folder.glob("*.tmp"):
        with suppress(FileNotFoundError):  # another program's, just renamed
            if time.time() - left.stat().st_mtime > _STALE:
                left.unlink()
