"""A training run as one self-contained HTML page: no script, no font, no network."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from functools import cache
from typing import Any

from rearank_agent.present.markup import load_template
from rearank_training.run_report import RunReport, describe

__all__ = ["run_page"]

_CURVES = ("dev.png", "learning.png")


def run_page(run: RunReport) -> str:
    """The HTML document: the evaluations, the curves, the replies of every one, the settings."""
    curves = {
        path.name: b64encode(path.read_bytes()).decode()
        for path in map(run.folder.joinpath, _CURVES)
        if path.is_file()
    }
    steps = sorted({one["step"] for one in run.replies}, reverse=True)
    return _template()(run=run, curves=curves, steps=steps)


@cache
def _template() -> Callable[..., str]:
    filters: dict[str, Callable[..., Any]] = {
        "words": describe, "value": "{:.3f}".format, "percent": "{:.0%}".format,
    }  # fmt: skip
    return load_template("rearank_training", "run_page.html.j2", filters)
