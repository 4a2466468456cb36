"""All rows of docs/reliability.md, in its order."""

from benchmarks.faults import files, load, models, output, replies, server, texts
from benchmarks.faults.row import Row

__all__ = ["ROWS"]

ROWS: tuple[Row, ...] = (
    *load.ROWS, *server.ROWS, *models.ROWS, *replies.ROWS, *files.ROWS, *texts.ROWS,
    *output.ROWS,
)  # fmt: skip
