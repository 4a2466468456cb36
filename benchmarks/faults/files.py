"""Files, folders, stores and locks."""

from benchmarks.faults.row import Row

__all__ = ["ROWS"]

ROWS: tuple[Row, ...] = ()
