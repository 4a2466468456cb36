"""Columns of Parquet files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rearank_agent.errors import InputError, SetupError
from rearank_agent.extras import install_line

__all__ = ["read_columns"]


def read_columns(files: Sequence[Path], *names: str) -> Any:
    """A table (pyarrow's) of these columns of all files, one file after the other.

    Raises:
        InputError: a file is not Parquet, or lacks a column.
        SetupError: pyarrow is not installed.
    """
    try:
        import pyarrow
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise SetupError(
            f"pyarrow is not installed, which reads {files[0].name}: {install_line('bright')}"
        ) from None
    tables, path = [], files[0]
    try:
        for path in files:
            with ParquetFile(path) as file:
                if missing := [name for name in names if name not in file.schema_arrow.names]:
                    raise InputError(f"{path} has no column {missing[0]!r}")
                tables.append(file.read(columns=list(names)))
        return pyarrow.concat_tables(tables, promote_options="permissive")
    except (OSError, pyarrow.ArrowException) as error:
        raise InputError(f"{path} cannot be read as Parquet: {error}") from None
