"""The files of a training run that are read: its log and its replies, one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rearank_agent.errors import InputError
from rearank_agent.files import write_error, write_text

__all__ = ["LOG", "ROLLOUTS", "RUN", "append", "read", "truncate"]

LOG = "log.jsonl"
"""The log's file name in a run's folder."""
ROLLOUTS = "rollouts.jsonl"
"""The file of the replies that are kept to read."""
RUN = "run.json"
"""The file of what a run depends on."""


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


def read(log: Path) -> list[dict[str, Any]]:
    """The lines of a log; none where there is no file.

    Raises:
        InputError: it cannot be read, or is damaged.
    """
    try:
        lines = log.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{log} cannot be read: {error}") from None
    try:
        return [json.loads(line) for line in lines]
    except ValueError:
        raise InputError(f"{log} is damaged: a line is not JSON") from None


def truncate(log: Path, count: int) -> None:
    """Keep the first `count` lines: the steps after the checkpoint are run again."""
    write_text(log, log.read_text(encoding="utf-8").splitlines(keepends=True)[:count])
