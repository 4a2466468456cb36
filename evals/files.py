"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path

from rearank_agent.errors import SetupError

__all__ = ["digest", "unwritable", "write"]


def write(path: Path, text: str) -> None:
    """Write a file beside its place, then swap it in.

    Raises:
        SetupError: it cannot be written.
    """
    new = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new.write_text(text, encoding="utf-8")
        new.replace(path)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise unwritable(path, error) from None


def unwritable(path: Path, error: OSError) -> SetupError:
    """The error of a file that cannot be written."""
    return SetupError(f"{path} cannot be written: {error.strerror or error}")


def digest(path: Path) -> str:
    """The sha256 of a file, in hex.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        whole = sha256()
        while part := file.read(1 << 20):
            whole.update(part)
    return whole.hexdigest()
