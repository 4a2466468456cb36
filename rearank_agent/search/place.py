"""The place of a passage: a path with lines, a PDF's pages or a notebook's cells."""

from __future__ import annotations

import re
from pathlib import PurePath

__all__ = ["place_of", "strip_lines", "unit_of"]

_UNITS = {".ipynb": "cells", ".pdf": "pages"}


def place_of(path: str, first: int, last: int) -> str:
    """A path with lines, as `notes.md:12-30`; with a PDF's pages, as `paper.pdf:p7`."""
    page = "p" if unit_of(path) == "pages" else ""
    return f"{path}:{page}{first}-{last}" if last > first else f"{path}:{page}{first}"


def strip_lines(place: str) -> str:
    """The path in a passage's place, without lines or pages, and part."""
    return re.sub(r":p?\d+(-\d+)?(#\d+)?$", "", place)


def unit_of(path: str) -> str:
    """What the numbers in a file's places are those of."""
    return _UNITS.get(PurePath(path).suffix.lower(), "lines")
