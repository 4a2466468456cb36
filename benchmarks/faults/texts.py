"""Texts that deceive readers."""

from benchmarks.faults.row import Row

__all__ = ["ROWS"]

ROWS: tuple[Row, ...] = ()
