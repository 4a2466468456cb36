"""A host's file read, and replaced in one step after a backup."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from rearank_agent.errors import SetupError

__all__ = ["naming_errors", "read_file", "write_file"]


def read_file(path: Path) -> bytes | None:
    """The file's content; None if there is no file."""
    with naming_errors(path):
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None


def write_file(path: Path, before: bytes | None, data: bytes) -> Path | None:
    """Replace the file in one step, after a backup of the old one; gives the backup's path."""
    with naming_errors(path):
        real = Path(os.path.realpath(path))
        real.parent.mkdir(parents=True, exist_ok=True)
        mode = 0o600 if before is None else real.stat().st_mode & 0o777
        with tempfile.TemporaryDirectory(dir=real.parent, prefix=f".{real.name}.") as folder:
            new = Path(folder) / real.name
            _fill(new, data, mode)
            backup = None if before is None else _backup(real, before, mode)
            new.replace(real)
    return backup


def _backup(real: Path, data: bytes, mode: int) -> Path:
    """A copy beside the file; it overwrites no other one, even in the same second."""
    stamp = f"{real.name}.{time.strftime('%Y%m%d-%H%M%S')}"
    names = (f"{stamp}-{number}.bak" if number > 1 else f"{stamp}.bak" for number in count(1))
    copy = next(path for path in map(real.with_name, names) if not path.exists())
    copy.touch(0o600, exist_ok=False)
    _fill(copy, data, mode)
    return copy


def _fill(path: Path, data: bytes, mode: int) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    path.chmod(mode)


@contextmanager
def naming_errors(what: object) -> Iterator[None]:
    """Turn errors of the system into a SetupError that names what they are about."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        raise SetupError(f"{what}: {getattr(error, 'strerror', None) or error}") from None
