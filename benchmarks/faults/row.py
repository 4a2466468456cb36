"""A fault, how it is tried, what it costs, and how the program recovers."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Row", "table"]

HEAD = ("fault", "how tried", "what is lost", "how it recovers", "seen")


@dataclass(frozen=True)
class Row:
    """A row of docs/reliability.md; the probe fills its last column.

    Attributes:
        fault: what goes wrong, or what somebody does to the program.
        tried: how the probe brings it about.
        lost: what a user loses.
        recovers: how the program goes on.
        probe: brings it about, given an empty folder; returns what was seen, in a few words with
            figures, and raises AssertionError where the promise did not hold.
    """

    fault: str
    tried: str
    lost: str
    recovers: str
    probe: Callable[[Path], str]


def table(rows: dict[Row, str]) -> str:
    """The rows with what was seen, as Markdown."""
    cells = [HEAD, ("---",) * len(HEAD)]
    cells += [(r.fault, r.tried, r.lost, r.recovers, seen) for r, seen in rows.items()]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)
