"""Model servers that hang, flood or answer nonsense."""

from benchmarks.faults.row import Row

__all__ = ["ROWS"]

ROWS: tuple[Row, ...] = ()
