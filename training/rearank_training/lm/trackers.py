"""Runs logged elsewhere too: by the callbacks of transformers, with our evaluations on dev."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from rearank_agent.errors import SetupError
from rearank_agent.extras import pip_line

__all__ = ["check_tracker", "report_dev"]


def check_tracker(name: str) -> None:
    """Raise SetupError unless the package of a tracker is installed; "none" needs none."""
    if name != "none" and find_spec(name) is None:
        raise SetupError(
            f"--report-to {name} needs {name}, which is not installed: {pip_line(name)}"
        )


def report_dev(trainer: Any, line: Mapping[str, Any]) -> None:
    """Hand an evaluation on dev to a trainer's trackers, as eval/macro, eval/dev/NAME, ...

    Args:
        trainer: of transformers; it hands on its own log itself.
        line: of the log.
    """
    figures = {name: value for name, value in line.items() if isinstance(value, float)}
    figures |= {f"dev/{name}": value for name, value in line["dev"].items()}
    logs = {f"eval_{name}": value for name, value in figures.items()}
    trainer.callback_handler.on_log(trainer.args, trainer.state, trainer.control, logs)
