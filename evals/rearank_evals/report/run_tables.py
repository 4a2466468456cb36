"""The tables of a report beside quality: costs, faults, rationales, shuffles, collections.

Arguments and results are those of `quality_tables.py`.
"""

from __future__ import annotations

from rearank_evals.report.numbers import MISSING, format_amount, format_measure
from rearank_evals.report.table import (
    Cell,
    Details,
    Report,
    Table,
    details_of,
    each_system,
    make_row,
    make_table,
)

__all__ = ["collections", "costs", "faults", "rationales", "shuffles"]

_TOKENS = ("prompt", "thought", "answer")


def costs(report: Report, details: Details) -> Table:
    """Schedule, blend and cost of each system: means per query, the median of its seconds."""
    rows = []
    for collection, system, entry in each_system(report, details):
        cost = entry.get("cost") or {}
        texts = [collection, system, entry.get("schedule", ""), str(entry.get("blend", ""))]
        texts += [format_amount(cost.get(part), 1) for part in ("calls", "turns", "hits")]
        texts += [format_amount(cost.get(f"{part}_tokens"), 0) for part in _TOKENS]
        rows.append(
            make_row([*texts, *(format_amount(cost.get(part)) for part in ("seconds", "at_once"))])
        )
    head = [*map(Cell, ("collection", "system", "schedule", "blend", "calls", "turns"))]
    head += [Cell("cached", "replies"), *(Cell(part, "tokens") for part in _TOKENS)]
    return make_table([*head, Cell("seconds", "median"), Cell("queries", "at once")], 3, rows)


def faults(report: Report, details: Details) -> Table:
    """The faults of each system beside its quality; queries with faults are in the mean."""
    measure, rows = details["measures"][0], []
    for collection, system, entry in each_system(report, details):
        value = format_measure(report[collection][system].get(measure))
        listed = entry.get("faults") or []
        if not listed and entry.get("partial"):
            listed = [{}]
        for one in listed:
            texts = [
                collection,
                system,
                value,
                format_amount(entry.get("partial")),
                one.get("kind", ""),
            ]
            texts += [
                format_amount(one.get("queries")),
                format_amount(one.get("times")),
                one.get("detail", ""),
            ]
            rows.append(make_row(texts))
    head = ["collection", "system", measure, "ended early", "fault", "queries", "times", "example"]
    return Table(tuple(map(Cell, head)), "llrrlrrl", tuple(rows))


def rationales(report: Report, details: Details) -> Table:
    """Coverage, groundedness and agreement of each system's rationales."""
    parts = ("coverage", "groundedness", "agreement")
    rows = []
    for collection, system, entry in each_system(report, details):
        shares = [(entry.get("rationale") or {}).get(part) for part in parts]
        if any(share is not None for share in shares):
            rows.append(
                make_row([collection, system, *(format_measure(share, 1) for share in shares)])
            )
    return make_table([Cell("collection"), Cell("system"), *map(Cell, parts)], 2, rows)


def shuffles(report: Report, details: Details) -> Table:
    """The headline measure with shuffled candidates."""
    measure, rows = details["measures"][0], []
    for collection, system, entry in each_system(report, details):
        if one := entry.get("shuffled"):
            given = format_measure(report[collection][system].get(measure))
            means = ", ".join(map(format_measure, one["means"]))
            correlation = one.get("correlation")
            tau = MISSING if correlation is None else f"{correlation:.3f}".replace("-", "−")
            texts = [collection, system, given, means, format_measure(one.get("spread")), tau]
            rows.append(make_row(texts))
    head = [Cell("collection"), Cell("system"), Cell("as given"), Cell("shuffled")]
    return make_table([*head, Cell("spread"), Cell("Kendall tau-b")], 2, rows)


def collections(report: Report, details: Details) -> Table:
    """The collections: counts, first stage and source."""
    rows = []
    for collection in report:
        one = details_of(details, collection)
        counts = [
            format_amount(one.get(part)) for part in ("queries", "passages", "judgements", "depth")
        ]
        rows.append(
            make_row([collection, *counts, one.get("first_stage", ""), one.get("source", "")])
        )
    head = ("collection", "queries", "passages", "judgements", "depth", "first stage", "source")
    return Table(tuple(map(Cell, head)), "lrrrrll", tuple(rows))
