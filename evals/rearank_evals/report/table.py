"""The tables of a report, and access to report.json and details.json."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = [
    "Cell", "Details", "Report", "Row", "Table", "details_of", "each_system", "make_row",
    "make_table", "systems",
]  # fmt: skip

Report = Mapping[str, Mapping[str, Mapping[str, float]]]
"""{collection: {system: {measure: value}}}, values in 0..1."""

Details = Mapping[str, Any]
"""details.json: intervals, tests, costs, faults, cases, manifests."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A text or a number, with a second line such as its interval; `strong` is bold."""

    text: str
    under: str = ""
    strong: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """The cells of a row, from left to right.

    Attributes:
        kind: "" for a system, "alone" for its policy without the blend, "macro" for an average
            over collections, "published" for values not measured here.
    """

    cells: tuple[Cell, ...]
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A head and rows.

    Attributes:
        head: a cell for each column.
        align: a letter for each column: "l" for text, "r" for numbers.
    """

    head: tuple[Cell, ...]
    align: str
    rows: tuple[Row, ...]


def systems(report: Report) -> list[str]:
    """Every system, in the order they were named."""
    return list(dict.fromkeys(system for values in report.values() for system in values))


def details_of(details: Details, collection: str, system: str = "") -> Mapping[str, Any]:
    """The details of a collection, or of a system on it; {} if there are none."""
    found: Mapping[str, Any] = details["collections"].get(collection, {})
    return found.get("systems", {}).get(system, {}) if system else found


def each_system(report: Report, details: Details) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Collection, system, and the details of that system on it."""
    for collection, values in report.items():
        for system in values:
            yield collection, system, details_of(details, collection, system)


def make_row(texts: Sequence[str], kind: str = "") -> Row:
    """A row of plain cells."""
    return Row(tuple(map(Cell, texts)), kind)


def make_table(head: Iterable[Cell], text_columns: int, rows: Sequence[Row]) -> Table:
    """A table whose first columns are text and whose others are numbers."""
    cells = tuple(head)
    return Table(cells, "l" * text_columns + "r" * (len(cells) - text_columns), tuple(rows))
