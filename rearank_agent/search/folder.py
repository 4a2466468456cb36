"""The files under the given roots, and nothing outside of them.

Hidden files and folders, what a .gitignore excludes, `__pycache__` and `node_modules` are left
out. Links are not followed: a target inside the roots is found at its own path, one outside is
left out. A file given as a root is always included.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple, Self

from rearank_agent.errors import InputError
from rearank_agent.search.held import HeldRoot
from rearank_agent.search.ignore import Ignore, ignored
from rearank_agent.search.place import strip_lines
from rearank_agent.search.unread import FileFault, UnreadError
from rearank_agent.types import check_text

__all__ = ["File", "Root", "Walk", "resolve_roots"]

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


_Ignores = tuple[Ignore, ...]


@dataclass
class Walk:
    """The files under the roots, unread; where roots overlap, a file is listed once.

    A context manager: at its end the roots are no longer held.

    Attributes:
        files: in order of root and path.
        faults: the place and the reason of what was left out, in order of place.
        held: the roots, held open to read the files.
    """

    roots: Sequence[Root]
    files: list[File] = field(default_factory=list)
    faults: list[tuple[str, FileFault]] = field(default_factory=list)
    held: list[HeldRoot] = field(default_factory=list)
    _seen: dict[str, File | None] = field(default_factory=dict)  # by real path; None: a folder
    _links: list[tuple[str, Path]] = field(default_factory=list)

    def __enter__(self) -> Self:
        try:
            for number in range(len(self.roots)):
                self._add(number)
        except BaseException:
            self.close()
            raise
        for place, target in self._links:
            if not any(target.is_relative_to(root.real) for root in self.roots):
                self.faults.append((place, FileFault("outside", "is a link that leads outside")))
            elif str(target) not in self._seen:
                hidden = FileFault("link", "is a link to what is hidden or ignored")
                self.faults.append((place, hidden))
        self.files.sort()
        self.faults.sort(key=lambda fault: fault[0])
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the roots."""
        for root in self.held:
            root.close()

    def find(self, place: str) -> tuple[File, str]:
        """A file by its place or its path below a root, and its lines, as ":12-30#2" or ":p7".

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
                if file := self._seen.get(str(real)):
                    return file, place[len(tried) :]
        named = ", ".join(str(root.named) for root in self.roots)
        raise InputError(f"{place!r:.200} is not below {named}, or no file that is searched")

    def _add(self, number: int) -> None:
        self.held.append(HeldRoot(self.roots[number].real))
        if self.held[number].is_folder:
            self._walk(number)
        else:
            self._file(number, "", self.roots[number].real.lstat)

    def _walk(self, number: int) -> None:
        pending: list[tuple[str, _Ignores]] = [("", self._parent_ignores(number))]
        while pending:
            folder, ignores = pending.pop()
            if (real := self._real(number, folder)) in self._seen:
                continue
            self._seen[real] = None
            try:
                with self.held[number].entries(folder) as entries:
                    if any(entry.name == ".gitignore" for entry in entries):
                        ignores += self._ignores(number, real, self.held[number], folder)
                    shown = (entry for entry in entries if not entry.name.startswith("."))
                    below = [self._entry(number, folder, entry, ignores) for entry in shown]
            except UnreadError as unread:
                self._fault(number, real, unread.fault)
                continue
            pending.extend((path, ignores) for path in below if path)

    def _entry(
        self, number: int, folder: str, entry: os.DirEntry[str], ignores: _Ignores
    ) -> str | None:
        """Add a file; return the path of a folder to walk."""
        path = f"{folder}/{entry.name}" if folder else entry.name
        real = self._real(number, path)
        is_folder = entry.is_dir(follow_symlinks=False)
        if entry.name in _SKIPPED or ignored(real + os.sep if is_folder else real, ignores):
            return None
        if entry.name.encode(errors="replace").decode() != entry.name:
            self._fault(number, real, FileFault("unreadable", "has a name that is not UTF-8"))
            return None
        if is_folder:
            return path
        if entry.is_symlink():
            self._link(number, Path(real))
        else:
            self._file(number, path, partial(entry.stat, follow_symlinks=False))
        return None

    def _file(self, number: int, path: str, status: Callable[[], os.stat_result]) -> None:
        if (real := self._real(number, path)) in self._seen:
            return
        try:
            found = status()
        except OSError as error:
            self._fault(number, real, UnreadError.of(error).fault)
            return
        if not stat.S_ISREG(found.st_mode):
            fault = FileFault("unreadable", "is neither a file nor a folder")
            self._fault(number, real, fault)
            return
        self._seen[real] = file = File(number, path, found.st_size, found.st_mtime_ns)
        self.files.append(file)

    def _link(self, number: int, path: Path) -> None:
        try:
            target = path.resolve(strict=True)
        except (OSError, RuntimeError):
            self._fault(number, str(path), FileFault("link", "is a link to nothing"))
        else:
            self._links.append((self._place(number, str(path)), target))

    def _parent_ignores(self, number: int) -> _Ignores:
        """The .gitignore files above a root in its repository, unless they exclude the root."""
        top = self.roots[number].real
        repository = next((up for up in (top, *top.parents) if (up / ".git").exists()), top)
        found: _Ignores = ()
        for folder in reversed(top.parents):
            if folder.is_relative_to(repository) and (folder / ".gitignore").exists():
                above = HeldRoot(folder)
                found += self._ignores(number, str(folder), above, "")
                above.close()
        return tuple(ignore for ignore in found if not ignore.excludes(f"{top}{os.sep}"))

    def _ignores(self, number: int, real: str, held: HeldRoot, folder: str) -> _Ignores:
        """The .gitignore of a folder; none if it is a link."""
        try:
            with held.open(f"{folder}/.gitignore" if folder else ".gitignore") as file:
                ignore, wrong = Ignore.read(real, file)
        except UnreadError as unread:
            if unread.fault.kind != "link":
                self._fault(number, str(Path(real, ".gitignore")), unread.fault)
            return ()
        if wrong:
            self._fault(number, str(Path(real, ".gitignore")), FileFault("unreadable", wrong))
        return (ignore,)

    def _fault(self, number: int, real: str, fault: FileFault) -> None:
        self.faults.append((self._place(number, real), fault))

    def _real(self, number: int, path: str) -> str:
        top = str(self.roots[number].real)
        return f"{top.rstrip(os.sep)}{os.sep}{path.replace('/', os.sep)}" if path else top

    def _place(self, number: int, real: str) -> str:
        root = self.roots[number]
        below = Path(real).is_relative_to(root.real)
        place = root.place(str(Path(real).relative_to(root.real))) if below else real
        return place.encode(errors="replace").decode()
