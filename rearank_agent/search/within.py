"""What a path below the roots names: the files of a search that is about a part of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from rearank_agent.errors import InputError
from rearank_agent.search.folder import File, Root
from rearank_agent.search.place import strip_lines
from rearank_agent.search.unread import FileFault
from rearank_agent.types import check_text

__all__ = ["Within"]


class Within:
    """The file or folder that a path names in any of the roots; all files for "".

    Args:
        roots: of the library.
        path: a path below a root, or the place of a passage.

    Raises:
        InputError: it names nothing below the roots.
    """

    def __init__(self, roots: Sequence[Root], path: str) -> None:
        check_text(path, "the path to search")
        self._roots, self._all = roots, not path
        self._tops = [str(root.real).rstrip(os.sep) + os.sep for root in roots]
        self._named = set() if self._all else self._real_paths(path)
        if not (self._all or self._named):
            names = ", ".join(str(root.named) for root in roots)
            raise InputError(f"{path!r:.80} is no file or folder below {names}")

    def _real_paths(self, path: str) -> set[Path]:
        found = set()
        for tried in (path, strip_lines(path)):
            for base in (Path(), *(root.real for root in self._roots)):
                try:
                    real = (base / tried).resolve(strict=True)
                except (OSError, RuntimeError, ValueError):
                    continue
                if any(real.is_relative_to(root.real) for root in self._roots):
                    found.add(real)
        return found

    def __contains__(self, file: File) -> bool:
        real = f"{self._tops[file.root]}{file.path}{os.sep}"
        return self._all or any(real.startswith(f"{named}{os.sep}") for named in self._named)

    def faults(self, found: Iterable[tuple[str, FileFault]]) -> list[tuple[str, FileFault]]:
        """Those of its files, by their places, and those of the cache."""
        below = tuple(
            f"{root.place(str(real.relative_to(root.real)))}{os.sep}"
            for real in self._named
            for root in self._roots
            if real.is_relative_to(root.real)
        )
        return [
            (place, fault)
            for place, fault in found
            if self._all
            or fault.kind == "cache"
            or f"{strip_lines(place)}{os.sep}".startswith(below)
        ]
