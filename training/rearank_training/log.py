"""The log of a training run: one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rearank_agent.files import write_error, write_text

__all__ = ["LOG", "append", "truncate"]

LOG = "log.jsonl"
"""The log's file name in a run's folder."""


def append(log: Path, line: Mapping[str, Any]) -> None:
    """Add a line to a log.

    Raises:
        SetupError: the log cannot be written.
    """
    try:
        with log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
    except OSError as error:
        raise write_error(log, error) from None


def truncate(log: Path, count: int) -> None:
    """Keep the first `count` lines: the steps after the checkpoint are run again."""
    write_text(log, log.read_text(encoding="utf-8").splitlines(keepends=True)[:count])
