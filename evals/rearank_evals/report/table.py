"""A table of a report, and what report.json and details.json say of a collection or a system."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = [
    "Cell", "Details", "Report", "Row", "Table", "about", "each", "make_row", "make_table",
    "systems",
]  # fmt: skip

Report = Mapping[str, Mapping[str, Mapping[str, float]]]
"""{collection: {system: {measure: value}}}, values in 0..1."""

Details = Mapping[str, Any]
"""All else: intervals, tests, costs, faults, cases, manifests."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A figure or a word, with what belongs under it, such as its interval."""

    text: str
    under: str = ""
    strong: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """Cells from left to right.

    Attributes:
        kind: "" for a system, "alone" for its policy without the blend, "macro" for an average
            over collections, "published" for what was not measured here.
    """

    cells: tuple[Cell, ...]
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under a head.

    Attributes:
        head: a cell for each column.
        align: a letter for each column: "l" for words, "r" for figures.
    """

    head: tuple[Cell, ...]
    align: str
    rows: tuple[Row, ...]


def systems(report: Report) -> list[str]:
    """Every system, in the order in which they were named."""
    return list(dict.fromkeys(system for values in report.values() for system in values))


def about(details: Details, collection: str, system: str = "") -> Mapping[str, Any]:
    """What details.json says of a collection, or of a system on it; {} if nothing."""
    said: Mapping[str, Any] = details["collections"].get(collection, {})
    return said.get("systems", {}).get(system, {}) if system else said


def each(report: Report, details: Details) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Collection, system, and what details.json says of the two."""
    for collection, values in report.items():
        for system in values:
            yield collection, system, about(details, collection, system)


def make_row(texts: Sequence[str], kind: str = "") -> Row:
    """A row of plain cells."""
    return Row(tuple(map(Cell, texts)), kind)


def make_table(head: Iterable[Cell], words: int, rows: Sequence[Row]) -> Table:
    """A table whose first columns are words and whose others are figures."""
    cells = tuple(head)
    return Table(cells, "l" * words + "r" * (len(cells) - words), tuple(rows))
