"""Atomic file writes, and file hashes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from hashlib import file_digest, sha256
from pathlib import Path
from typing import IO

from rearank_agent.errors import SetupError

__all__ = ["atomic_write", "digest", "digest_of", "write_error", "write_text"]


def write_text(path: Path, text: str | Iterable[str]) -> str:
    """Write a file atomically; returns its hash, as `digest` does.

    Args:
        path: of the file; its folder is made.
        text: one string, or parts of it.

    Raises:
        SetupError: it cannot be written.
    """
    hashed = sha256()
    try:
        with atomic_write(path) as file:
            for part in [text] if isinstance(text, str) else text:
                file.write(data := part.encode())
                hashed.update(data)
    except UnicodeEncodeError:  # of a name on this system that is not UTF-8
        reason = "it would hold half a character (a lone surrogate)"
        raise SetupError(f"{path} cannot be written: {reason}") from None
    return hashed.hexdigest()


@contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """A temporary file to write to; it replaces `path` when the block ends without an error.

    Raises:
        SetupError: it cannot be written.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            yield file
        temporary.replace(path)
    except OSError as error:
        raise write_error(path, error) from None
    finally:
        with suppress(OSError):  # it has the place of `path`, unless something was raised
            temporary.unlink()


def write_error(path: Path, error: OSError) -> SetupError:
    """The error of a file that cannot be written."""
    return SetupError(f"{path} cannot be written: {error.strerror or error}")


def digest(path: Path) -> str:
    """The sha256 of a file, in hex.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def digest_of(paths: Iterable[Path]) -> str:
    """The sha256 of the hashes of several files, in this order.

    Raises:
        OSError: one cannot be read.
    """
    return sha256(b"".join(bytes.fromhex(digest(path)) for path in paths)).hexdigest()
