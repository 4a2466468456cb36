"""Many requests at once."""

from benchmarks.faults.row import Row

__all__ = ["ROWS"]

ROWS: tuple[Row, ...] = ()
