"""The files under the given roots, and nothing outside of them.

Hidden files and folders, what a .gitignore excludes, `__pycache__` and `node_modules` are left
out. Links are not followed: a target inside the roots is found at its own path, one outside is
left out. A file given as a root is always included.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

from pathspec import GitIgnoreSpec

from rearank_agent.errors import InputError
from rearank_agent.search.extract import FileFault
from rearank_agent.types import check_text

__all__ = ["File", "Root", "Walk", "resolve_roots", "strip_lines"]

_SKIPPED = frozenset({"__pycache__", "node_modules"})


class Root(NamedTuple):
    """A file or folder to search: the path as given, and its real path."""

    named: Path
    real: Path

    def place(self, path: str) -> str:
        """The path a person would type for a path below it ("" for itself)."""
        return str(self.named / path)


class File(NamedTuple):
    """A file and its state.

    Attributes:
        root: the position of its root.
        path: below the root, with slashes; "" if the root is the file.
        size: bytes.
        mtime: time of the last change, in nanoseconds.
    """

    root: int
    path: str
    size: int
    mtime: int


class _Ignore(NamedTuple):
    """The patterns of a .gitignore, and its folder with a separator at the end."""

    folder: str
    spec: GitIgnoreSpec

    def excludes(self, path: str) -> bool | None:
        """Whether to leave a path out; None if no pattern matches."""
        return self.spec.check_file(path[len(self.folder) :]).include


_Ignores = tuple[_Ignore, ...]


def resolve_roots(named: Iterable[Path]) -> tuple[Root, ...]:
    """The roots, without duplicates.

    Raises:
        InputError: none at all, one that does not exist, one whose name is not UTF-8.
    """
    found: dict[Path, Root] = {}
    for path in named:
        check_text(str(path), "the name of a file or folder to search")
        try:
            real = path.resolve(strict=True)
        except (OSError, RuntimeError, ValueError):
            raise InputError(f"there is no file or folder {path}") from None
        found.setdefault(real, Root(path, real))
    if not found:
        raise InputError("there is no folder to search")
    return tuple(found.values())


def strip_lines(place: str) -> str:
    """The path in a passage's place, without lines and part."""
    return re.sub(r":\d+(-\d+)?(#\d+)?$", "", place)


@dataclass
class Walk:
    """The files under the roots, unread; where roots overlap, a file is listed once.

    Attributes:
        files: in order of root and path.
        faults: the place and the reason of what was left out, in order of place.
    """

    roots: Sequence[Root]
    files: list[File] = field(default_factory=list)
    faults: list[tuple[str, FileFault]] = field(default_factory=list)
    _seen: dict[str, bool] = field(default_factory=dict)  # real path: whether it is a file
    _links: list[tuple[str, Path]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for number, root in enumerate(self.roots):
            if root.real.is_dir():
                self._walk(number, str(root.real))
            else:
                self._file(number, str(root.real), root.real.lstat)
        for place, target in self._links:
            if not any(target.is_relative_to(root.real) for root in self.roots):
                self.faults.append((place, FileFault("outside", "is a link that leads outside")))
            elif str(target) not in self._seen:
                self.faults.append(
                    (place, FileFault("link", "is a link to what is hidden or ignored"))
                )
        self.files.sort()
        self.faults.sort(key=lambda fault: fault[0])

    def find(self, place: str) -> Path:
        """The real path of a file by its place, with or without lines, or its path below a root.

        Raises:
            InputError: it leads outside the roots in any way, or is not among the files.
        """
        check_text(place, "the place of a file")
        for tried in (strip_lines(place), place):
            for base in (Path(), *(root.real for root in self.roots)):
                try:
                    real = (base / tried).resolve()
                except (OSError, RuntimeError, ValueError):
                    continue
                if self._seen.get(str(real)):
                    return real
        named = ", ".join(str(root.named) for root in self.roots)
        raise InputError(f"{place!r} is not below {named}, or no file that is searched")

    def _walk(self, number: int, top: str) -> None:
        pending: list[tuple[str, _Ignores]] = [(top, self._parent_ignores(number, Path(top)))]
        while pending:
            folder, ignores = pending.pop()
            if folder in self._seen:
                continue
            self._seen[folder] = False
            try:
                with os.scandir(folder) as listed:
                    entries = list(listed)
            except OSError as error:
                self._unreadable(number, folder, error)
                continue
            if any(entry.name == ".gitignore" for entry in entries):
                ignores += self._ignores(number, Path(folder))
            shown = (entry for entry in entries if not entry.name.startswith("."))
            folders = [entry.path for entry in shown if self._entry(number, entry, ignores)]
            pending.extend((folder, ignores) for folder in folders)

    def _entry(self, number: int, entry: os.DirEntry[str], ignores: _Ignores) -> bool:
        """Add a file; return whether the entry is a folder to walk."""
        folder = entry.is_dir(follow_symlinks=False)
        path = entry.path + os.sep if folder else entry.path
        if entry.name in _SKIPPED or _ignored(path, ignores):
            return False
        if entry.name.encode(errors="replace").decode() != entry.name:
            self._fault(number, entry.path, "unreadable", "has a name that is not UTF-8")
            return False
        if entry.is_symlink():
            self._link(number, Path(entry.path))
        elif not folder:
            self._file(number, entry.path, partial(entry.stat, follow_symlinks=False))
        return folder

    def _file(self, number: int, real: str, status: Callable[[], os.stat_result]) -> None:
        if real in self._seen:
            return
        try:
            found = status()
        except OSError as error:
            self._unreadable(number, real, error)
            return
        if not stat.S_ISREG(found.st_mode):
            self._fault(number, real, "unreadable", "is neither a file nor a folder")
            return
        self._seen[real] = True
        below = real[len(str(self.roots[number].real)) :].replace(os.sep, "/").lstrip("/")
        self.files.append(File(number, below, found.st_size, found.st_mtime_ns))

    def _link(self, number: int, path: Path) -> None:
        try:
            target = path.resolve(strict=True)
        except (OSError, RuntimeError):
            self._fault(number, str(path), "link", "is a link to nothing")
        else:
            self._links.append((self._place(number, str(path)), target))

    def _parent_ignores(self, number: int, top: Path) -> _Ignores:
        """The .gitignore files above a root in its repository, unless they exclude the root."""
        repository = next((up for up in (top, *top.parents) if (up / ".git").exists()), top)
        between = [up for up in reversed(top.parents) if up.is_relative_to(repository)]
        found = [ignore for folder in between for ignore in self._ignores(number, folder)]
        return tuple(ignore for ignore in found if not ignore.excludes(f"{top}{os.sep}"))

    def _ignores(self, number: int, folder: Path) -> _Ignores:
        """The .gitignore of a folder, if there is one."""
        path = folder / ".gitignore"
        if path.is_symlink() or not path.is_file():
            return ()
        try:
            lines = path.read_text("utf-8", "replace").splitlines()
        except OSError as error:
            self._unreadable(number, str(path), error)
            return ()
        patterns = [line for line in lines if _is_pattern(line)]
        if len(patterns) < len(lines):
            self._fault(number, str(path), "unreadable", "holds a line that is no pattern")
        base = f"{str(folder).rstrip(os.sep)}{os.sep}"
        return (_Ignore(base, GitIgnoreSpec.from_lines(patterns)),)

    def _unreadable(self, number: int, real: str, error: OSError) -> None:
        gone = isinstance(error, FileNotFoundError)
        reason = "was gone before it was read" if gone else f"cannot be read ({error.strerror})"
        self._fault(number, real, "vanished" if gone else "unreadable", reason)

    def _fault(self, number: int, real: str, kind: str, reason: str) -> None:
        self.faults.append((self._place(number, real), FileFault(kind, reason)))

    def _place(self, number: int, real: str) -> str:
        root = self.roots[number]
        below = Path(real).is_relative_to(root.real)
        place = root.place(str(Path(real).relative_to(root.real))) if below else real
        return place.encode(errors="replace").decode()


def _ignored(path: str, ignores: _Ignores) -> bool:
    """Whether the innermost .gitignore with a matching pattern excludes the path."""
    answers = (ignore.excludes(path) for ignore in reversed(ignores))
    return next((answer for answer in answers if answer is not None), False)


def _is_pattern(line: str) -> bool:
    try:
        GitIgnoreSpec.from_lines([line])
    except ValueError:
        return False
    return True
