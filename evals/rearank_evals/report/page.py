"""A report as one self-contained HTML page: no script, no font, no network.

Text of collections and models is escaped; only our own SVG is inserted as it is.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from typing import Any

from rearank_agent.present.markup import load_template
from rearank_evals.report import numbers, plots, quality_tables, run_tables
from rearank_evals.report.published import NOTE
from rearank_evals.report.table import Details, Report, details_of, each_system, systems

__all__ = ["html_report"]

_MAX_UNFOLDED = 4  # groups of wins and losses that start unfolded; more would make it long


def html_report(report: Report, details: Details) -> str:
    """The HTML document of report.json and details.json."""
    groups = _groups(report, details)
    pictures = {axis: plots.tradeoff(report, details, axis) for axis in plots.AXES}
    return _template()(
        quality_tables=quality_tables,
        run_tables=run_tables,
        details_of=details_of,
        report=report,
        details=details,
        measure=details["measures"][0],
        bars=[plots.bars(report, details, collection) for collection in report],
        tradeoffs=[picture for picture in pictures.values() if picture],
        groups=groups,
        unfolded=len(groups) <= _MAX_UNFOLDED,
        systems=systems(report),
        published_note=NOTE,
    )


@cache
def _template() -> Callable[..., str]:
    filters = {
        "amount": numbers.format_amount,
        "measure": numbers.format_measure,
        "difference": numbers.format_difference,
        "pretty": _pretty,
    }
    return load_template("rearank_evals.report", "page.html.j2", filters)


def _pretty(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)


def _groups(report: Report, details: Details) -> list[dict[str, Any]]:
    """The wins and losses of each system on each collection, where there are any."""
    measure = details["measures"][0]
    return [
        {
            "collection": collection,
            "system": system,
            "test": (entry.get("against") or {}).get(measure),
            "sides": {side: entry[side] for side in ("wins", "losses") if entry.get(side)},
        }
        for collection, system, entry in each_system(report, details)
        if entry.get("wins") or entry.get("losses")
    ]
