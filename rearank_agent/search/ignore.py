"""The patterns of .gitignore files."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import BinaryIO, NamedTuple

from pathspec import GitIgnoreSpec

__all__ = ["MAX_BYTES", "Ignore", "ignored"]

MAX_BYTES = 2**20
"""What is read of a .gitignore; real ones have some kilobytes."""


class Ignore(NamedTuple):
    """The patterns of a .gitignore, and its folder with a separator at the end."""

    folder: str
    spec: GitIgnoreSpec

    @classmethod
    def read(cls, folder: str, file: BinaryIO) -> tuple[Ignore, str]:
        """The patterns in the file of a folder, and what of it does not count, if anything."""
        text = file.read(MAX_BYTES + 1)
        lines = text[:MAX_BYTES].decode("utf-8", "replace").splitlines()
        patterns = [line for line in lines if _is_pattern(line)]
        wrong = "holds a line that is no pattern" if len(patterns) < len(lines) else ""
        if len(text) > MAX_BYTES:
            wrong = f"is larger than {MAX_BYTES // 2**20} MiB; the rest does not count"
        base = f"{folder.rstrip(os.sep)}{os.sep}"
        return cls(base, GitIgnoreSpec.from_lines(patterns)), wrong

    def excludes(self, path: str) -> bool | None:
        """Whether to leave a path out; None if no pattern matches."""
        return self.spec.check_file(path[len(self.folder) :]).include


def ignored(path: str, ignores: Iterable[Ignore]) -> bool:
    """Whether the innermost .gitignore, the last, with a matching pattern excludes the path."""
    answers = (ignore.excludes(path) for ignore in reversed(tuple(ignores)))
    return next((answer for answer in answers if answer is not None), False)


def _is_pattern(line: str) -> bool:
    try:
        GitIgnoreSpec.from_lines([line])
    except ValueError:
        return False
    return True
