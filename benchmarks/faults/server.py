"""Hostile or broken clients of the server, and its end."""

from benchmarks.faults.row import Row

__all__ = ["ROWS"]

ROWS: tuple[Row, ...] = ()
