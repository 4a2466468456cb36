"""The log of a training run: one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rearank_agent.files import write_error, write_text

__all__ = ["LOG", "append", "cut"]

LOG = "log.jsonl"
"""The file's name in the folder of a run."""


def append(log: Path, line: Mapping[str, Any]) -> None:
    """Add a line to a log.

    Raises:
        SetupError: it cannot be written.
    """
    try:
        with log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
    except OSError as error:
        raise write_error(log, error) from None


def cut(log: Path, count: int) -> None:
    """Leave the first lines alone: what came after the checkpoint is done again."""
    write_text(log, log.read_text(encoding="utf-8").splitlines(keepends=True)[:count])
