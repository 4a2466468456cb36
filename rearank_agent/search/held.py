"""Files and folders below a root, opened without following a link.

A path that was looked at may lead elsewhere when it is opened: somebody may have put a link into
the place of a folder in between. So every folder is opened from the one above it, which is held
open, and never through a link. All that a search reads is opened here.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from rearank_agent.search.unread import UnreadError

__all__ = ["HeldRoot"]

_RELATIVE = {os.open, os.stat} <= os.supports_dir_fd and os.scandir in os.supports_fd
_MOST_HELD = 32  # descriptors of folders below each other; deeper trees let go of the upper ones

_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0)
_FILE = os.O_RDONLY | _NO_LINK | getattr(os, "O_BINARY", 0)
_FILE |= getattr(os, "O_NONBLOCK", 0)  # does not wait for a pipe


class HeldRoot:
    """A root, held open from its first use until it is closed; for one thread.

    The root itself is the file or folder at the path given, as it was when its links were
    resolved; a link that takes its place later is not followed either. On a system that cannot
    open relative to a folder (Windows), the path of what was opened is looked at again afterwards,
    which leaves a moment for one who swaps a link in and out.

    Attributes:
        is_folder: whether the root is a folder; false too where nothing is there any more.
    """

    def __init__(self, real: Path) -> None:
        try:
            self.is_folder = stat.S_ISDIR(real.lstat().st_mode)
        except OSError:
            self.is_folder = False
        self._top = real if self.is_folder else real.parent
        self._file = "" if self.is_folder else real.name
        self._root: int | None = None
        self._below: list[tuple[str, int | None]] = []  # the folder opened last, name by name

    def open(self, path: str) -> BinaryIO:
        """A regular file.

        Args:
            path: below the root, with slashes; "" for a root that is a file.

        Raises:
            UnreadError: it is gone, a link, behind one, no regular file, or cannot be read.
        """
        path = path or self._file
        folder, _, name = path.rpartition("/")
        try:
            if _RELATIVE:
                descriptor = os.open(name, _FILE, dir_fd=self._folder(folder))
            else:
                descriptor = os.open(self._top / path, _FILE)
        except OSError as error:
            raise UnreadError.of(error) from None
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise UnreadError("unreadable", "is no regular file", cacheable=False)
            if not _RELATIVE:
                self._check(path, found)
            return os.fdopen(descriptor, "rb")
        except BaseException:
            os.close(descriptor)
            raise

    @contextmanager
    def entries(self, path: str) -> Iterator[list[os.DirEntry[str]]]:
        """What is in a folder; the entries can be asked until the next call of any method.

        Raises:
            UnreadError: it is gone, a link, behind one, no folder, or cannot be read.
        """
        try:
            with os.scandir(self._folder(path) if _RELATIVE else self._top / path) as listed:
                entries = list(listed)
        except OSError as error:
            raise UnreadError.of(error) from None
        if not _RELATIVE:
            self._check(path, None)
        yield entries

    def close(self) -> None:
        """Let go of all folders."""
        self._keep(0)
        if self._root is not None:
            os.close(self._root)
            self._root = None

    def _folder(self, path: str) -> int:
        """The descriptor of a folder below the root, held until another one is opened."""
        if self._root is None:
            # what is above a root that is a file is not below the root
            self._root = os.open(self._top, _FOLDER | (_NO_LINK if self.is_folder else 0))
        names = path.split("/") if path else []
        same = 0
        for name, (held, _) in zip(names, self._below, strict=False):
            if name != held:
                break
            same += 1
        self._keep(same)
        for name in names[len(self._below) :]:
            folder = os.open(name, _FOLDER | _NO_LINK, dir_fd=self._deepest())
            self._below.append((name, folder))
            self._close(len(self._below) - _MOST_HELD - 1)
        return self._deepest()

    def _deepest(self) -> int:
        descriptor = self._below[-1][1] if self._below else self._root
        assert descriptor is not None  # noqa: S101
        return descriptor

    def _keep(self, depth: int) -> None:
        """Let go of the folders below a depth, and of all if that one was let go of before."""
        if depth and self._below[depth - 1][1] is None:
            depth = 0
        for position in range(depth, len(self._below)):
            self._close(position)
        del self._below[depth:]

    def _close(self, position: int) -> None:
        if position >= 0 and (descriptor := self._below[position][1]) is not None:
            self._below[position] = (self._below[position][0], None)
            os.close(descriptor)

    def _check(self, path: str, found: os.stat_result | None) -> None:
        """Refuse what was opened by its path alone, if that leads through a link now."""
        real = self._top / path
        with suppress(OSError):
            if Path(os.path.realpath(real)) == real and (
                found is None or os.path.samestat(found, real.lstat())
            ):
                return
        raise UnreadError.of(OSError(errno.ELOOP, "a link"))
