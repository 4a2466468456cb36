"""Writes a report: two JSON files, and Markdown and HTML made from them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rearank_agent.files import write_text
from rearank_evals.evaluate import Report
from rearank_evals.report.markdown import markdown_report
from rearank_evals.report.page import html_report

__all__ = ["write_report"]


def write_report(folder: Path, report: Report, details: dict[str, Any]) -> None:
    """Write report.json, details.json, report.md and report.html.

    Raises:
        SetupError: a file cannot be written.
    """
    write_text(folder / "report.json", json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    write_text(folder / "details.json", json.dumps(details, indent=1, ensure_ascii=False) + "\n")
    write_text(folder / "report.md", markdown_report(report, details))
    write_text(folder / "report.html", html_report(report, details))
