"""The tables of a report about quality: measures, differences, published figures.

`report` is the content of report.json and `details` that of details.json. Each function returns
one table, without rows where there is nothing to show.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rearank_evals.report.numbers import (
    MISSING,
    format_amount,
    format_difference,
    format_interval,
    format_measure,
    format_p,
)
from rearank_evals.report.table import (
    Cell,
    Details,
    Report,
    Row,
    Table,
    details_of,
    each_system,
    make_row,
    make_table,
    systems,
)

__all__ = ["differences", "measures", "published", "quality"]

_MACRO = "macro average"


def quality(report: Report, details: Details) -> Table:
    """Systems by collections in the headline measure, and their macro average."""
    measure, macro = details["measures"][0], details.get("macro") or {}
    counts = [format_amount(details_of(details, c).get("queries")) for c in report]
    head = [Cell("system"), *(Cell(c, f"{n} queries") for c, n in zip(report, counts, strict=True))]
    rows = _grid(report, details, systems(report), [(c, measure) for c in report])
    if macro:
        head.append(Cell(_MACRO, f"{len(report)} collections"))
        best = max(one["value"] for one in macro.values())
        ends = {s: _cell(one["value"], one.get("interval"), best) for s, one in macro.items()}
        own = [ends.get(row.cells[0].text, Cell(MISSING)) for row in rows]
        rows = [Row((*row.cells, end), row.kind) for row, end in zip(rows, own, strict=True)]
    return make_table(head, 1, rows)


def measures(report: Report, details: Details, collection: str) -> Table:
    """Systems by measures on one collection."""
    names = details["measures"]
    rows = _grid(report, details, list(report[collection]), [(collection, m) for m in names])
    return make_table([Cell("system"), *map(Cell, names)], 1, rows)


def differences(report: Report, details: Details, measure: str) -> Table:
    """Each system minus the baseline: the mean difference over queries, tests and counts."""
    rows = []
    for collection, system, entry in each_system(report, details):
        test = (entry.get("against") or {}).get(measure)
        if test:
            counts = "/".join(str(test[part]) for part in ("wins", "ties", "losses"))
            few = " (few)" if test.get("small") else ""
            texts = [collection, system, f"{test['n']}{few}", format_difference(test["difference"])]
            texts += [format_interval(test["interval"], sign=True), format_p(test["p"])]
            rows.append(make_row([*texts, format_p(test["p_holm"]), counts]))
    for system, one in (details.get("macro") or {}).items():
        if measure == details["measures"][0] and one.get("difference") is not None:
            texts = [_MACRO, system, MISSING, format_difference(one["difference"])]
            texts += [format_interval(one.get("difference_interval"), sign=True), *[MISSING] * 3]
            rows.append(make_row(texts, "macro"))
    head = "collection, system, queries, difference, 95% interval, p, p (Holm), wins/ties/losses"
    return make_table(map(Cell, head.split(", ")), 2, rows)


def published(report: Report, details: Details, measure: str) -> Table:
    """The values measured here, and below them the published ones, with their source."""
    listed = {c: details_of(details, c).get("published") or [] for c in report}
    figures = {c: [one for one in listed[c] if one["measure"] == measure] for c in report}
    known = [collection for collection in report if figures[collection]]
    rows = []
    for system in systems(report) if known else []:
        ours = [report[c].get(system, {}).get(measure) for c in known]
        rows.append(make_row([system, *map(format_measure, ours), "measured here"]))
    theirs: dict[tuple[str, str], dict[str, float]] = {}
    for collection in known:
        for one in figures[collection]:
            origin = f"published: {one['source']}; candidates: {one['candidates']}"
            theirs.setdefault((one["system"], origin), {})[collection] = one["value"]
    for (system, origin), values in theirs.items():
        texts = [system, *(format_measure(values.get(c)) for c in known), origin]
        rows.append(make_row(texts, "published"))
    table = make_table([Cell("system"), *map(Cell, known), Cell("origin")], 1, rows)
    return Table(table.head, table.align[:-1] + "l", table.rows)


def _grid(
    report: Report, details: Details, names: Sequence[str], pairs: Sequence[tuple[str, str]]
) -> list[Row]:
    """Rows of systems, of policies without the blend and of the perfect order; a column a pair."""
    values = {s: [report[c].get(s, {}).get(m) for c, m in pairs] for s in names}
    columns = [[v for v in c if v is not None] for c in zip(*values.values(), strict=True)]
    best = [max(column) if len(column) > 1 else None for column in columns]

    def detail(system: str, part: str) -> list[Any]:
        return [(details_of(details, c, system).get(part) or {}).get(m) for c, m in pairs]

    rows = []
    for system in names:
        cells = map(_cell, values[system], detail(system, "intervals"), best)
        rows.append(Row((Cell(system), *cells)))
        alone = detail(system, "alone")
        if any(value is not None for value in alone):
            rows.append(make_row([f"{system}, alone", *map(format_measure, alone)], "alone"))
    perfect = [details_of(details, c).get("perfect", {}).get(m) for c, m in pairs]
    if any(value is not None for value in perfect):
        rows.append(make_row(["perfect order", *map(format_measure, perfect)], "alone"))
    return rows


def _cell(value: float | None, interval: Sequence[float] | None, best: float | None) -> Cell:
    strong = value is not None and value == best
    return Cell(format_measure(value), format_interval(interval) if interval else "", strong)
