"""A BM25 index over the chunks of files, stored as one file that is replaced atomically."""

from __future__ import annotations

import json
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, astuple, dataclass, field
from itertools import accumulate
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import bm25s
import numpy as np
from numpy.typing import NDArray

from rearank_agent.policies.lexical import bm25_index, bm25_scores
from rearank_agent.search.chunk import Chunk
from rearank_agent.search.extract import Extraction
from rearank_agent.search.folder import File
from rearank_agent.search.tokens import text_tokens
from rearank_agent.search.unread import FileFault
from rearank_agent.text import text_hash

__all__ = ["Index", "IndexedFile"]

VERSION = 5
"""Of the file format, the chunks and the tokens; a file of another version is rebuilt."""

_STALE = 3600  # seconds after which a temporary file is taken to be abandoned


@dataclass(frozen=True, slots=True)
class IndexedFile:
    """A file with its chunks and tokens.

    Attributes:
        lines: its chunks, each as a line of JSON.
        tokens: the tokens of each chunk, between spaces.
        hashes: the `text_hash` of each chunk, title included.
        cacheable: whether reading it again would give the same.
    """

    file: File
    lines: tuple[bytes, ...] = ()
    tokens: tuple[bytes, ...] = ()
    hashes: tuple[int, ...] = ()
    faults: tuple[FileFault, ...] = ()
    cacheable: bool = True

    @classmethod
    def of(cls, file: File, found: Extraction) -> IndexedFile:
        """A file whose text was read."""
        chunks = found.chunks
        return cls(
            file,
            lines=tuple(json.dumps(list(asdict(chunk).values())).encode() for chunk in chunks),
            tokens=tuple(" ".join(text_tokens(chunk.content)).encode() for chunk in chunks),
            hashes=tuple(text_hash(chunk.content) for chunk in chunks),
            faults=found.faults,
            cacheable=found.cacheable,
        )


@dataclass(frozen=True)
class Index:
    """Files in order, and BM25 over all their chunks; None without a single token.

    Attributes:
        hashes: [chunks], their `text_hash`.
    """

    files: tuple[IndexedFile, ...] = ()
    bm25: bm25s.BM25 | None = None
    lines: tuple[bytes, ...] = ()
    hashes: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    _ends: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, files: Sequence[IndexedFile], bm25: bm25s.BM25 | None = None) -> Index:
        """The index of these files; BM25 is built if it is not given."""
        if bm25 is None:
            tokens = [chunk.decode().split() for one in files for chunk in one.tokens]
            bm25 = bm25_index(tokens) if any(tokens) else None
        lines = tuple(line for one in files for line in one.lines)
        hashes = np.array([name for one in files for name in one.hashes], np.int64)
        ends = list(accumulate(len(one.lines) for one in files))
        return cls(tuple(files), bm25, lines, hashes, ends)

    @property
    def sizes(self) -> list[int]:
        """The chunks of each file."""
        return [len(one.lines) for one in self.files]

    def at(self, position: int) -> tuple[File, bytes]:
        """The file and the JSON line of the chunk at a position."""
        return self.files[bisect_right(self._ends, position)].file, self.lines[position]

    def content(self, position: int) -> str:
        """The title and text of the chunk at a position, as a policy reads them."""
        return Chunk(*json.loads(self.lines[position])).content

    def scores(self, tokens: Sequence[str]) -> NDArray[np.float32]:
        """[chunks], their BM25 score for a query's tokens; 0 without one of them."""
        if self.bm25 is None:
            return np.zeros(len(self.lines), np.float32)
        return bm25_scores(self.bm25, tokens)

    def mask(self, wanted: Callable[[File], bool]) -> NDArray[np.bool_]:
        """[chunks], whether each is of a wanted file."""
        return np.repeat([wanted(one.file) for one in self.files], self.sizes)

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
        hashes: list[int] = arrays["hashes"].tolist()
        files, start = [], 0
        for file, count, rows in head["files"]:
            part = slice(start, start := start + count)
            faults = tuple(FileFault(*row) for row in rows)
            names = tuple(hashes[part])
            files.append(
                IndexedFile(File(*file), tuple(lines[part]), tuple(tokens[part]), names, faults)
            )
        vocabulary = arrays["vocabulary"].tobytes().decode().split("\n")
        # built from one word, so that the settings of BM25 are in `bm25_index` alone
        bm25 = bm25_index([["word"]]) if len(arrays["data"]) else None
        if bm25:
            bm25.vocab_dict = {token: number for number, token in enumerate(vocabulary)}
            bm25.unique_token_ids_set = set(bm25.vocab_dict.values())
            bm25.scores = {part: arrays[part] for part in ("data", "indices", "indptr")}
            bm25.scores["num_docs"] = len(lines)
        if not start == len(lines) == len(tokens) == len(hashes):
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
        arrays["hashes"] = self.hashes
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
