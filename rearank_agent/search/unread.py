"""Why a file, or a part of it, was left out of a search."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from rearank_agent.types import Fault

__all__ = ["FileFault", "UnreadError", "grouped"]

# a link where O_NOFOLLOW is set: EMLINK on FreeBSD, ENOTDIR with O_DIRECTORY on Linux
_LINK = (errno.ELOOP, errno.EMLINK, errno.ENOTDIR)


@dataclass(frozen=True, slots=True)
class FileFault:
    """Why a file, or one line of it (from 1; 0 for the file), was left out."""

    kind: str
    reason: str
    line: int = 0


class UnreadError(Exception):
    """A file without text: its fault, and whether that stays the same until the file changes."""

    def __init__(self, kind: str, reason: str, cacheable: bool = True, line: int = 0) -> None:
        super().__init__(reason)
        self.fault, self.cacheable = FileFault(kind, reason, line), cacheable

    @classmethod
    def of(cls, error: OSError) -> UnreadError:
        """What the system said when a file or folder was opened; never cacheable."""
        if isinstance(error, FileNotFoundError):
            return cls("vanished", "was gone before it was read", cacheable=False)
        if error.errno in _LINK:
            return cls("link", "was replaced by a link, or a folder above it was", cacheable=False)
        return cls("unreadable", f"cannot be read ({error.strerror or error})", cacheable=False)


def grouped(file_faults: Iterable[tuple[str, FileFault]]) -> tuple[Fault, ...]:
    """One fault for each reason: a folder of pictures is one fault, not a thousand."""

    def key(placed: tuple[str, FileFault]) -> tuple[str, str]:
        return placed[1].kind, placed[1].reason

    faults = []
    for (kind, reason), group in groupby(sorted(file_faults, key=key), key):
        places = tuple(place for place, _ in group)
        more = f" (and {len(places) - 1} more)" if len(places) > 1 else ""
        faults.append(Fault(kind, places, f"{places[0]} {reason}{more}"))
    return tuple(faults)
