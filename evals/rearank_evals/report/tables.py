"""What a report says, as tables: the same rows for Markdown and for a page.

`report` is report.json and `details` is details.json, both as they were read. Each function
gives one table; without rows there was nothing to say.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rearank_evals.report.numbers import NOTHING, amount, hundred, p_value, signed, span

__all__ = [
    "Cell", "Details", "Report", "Row", "Table", "about", "collections", "costs", "differences",
    "each", "faults", "measures", "published", "quality", "rationales", "shuffles", "systems",
]  # fmt: skip

Report = Mapping[str, Mapping[str, Mapping[str, float]]]
"""{collection: {system: {measure: value}}}, values in 0..1."""

Details = Mapping[str, Any]
"""All else: intervals, tests, costs, faults, cases, manifests."""

_MACRO = "macro average"
_TOKENS = ("prompt", "thought", "answer")


@dataclass(frozen=True, slots=True)
class Cell:
    """A figure or a word, with what belongs under it, such as its interval."""

    text: str
    under: str = ""
    strong: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """Cells from left to right.

    Attributes:
        kind: "" for a system, "alone" for its policy without the blend, "macro" for an average
            over collections, "published" for what was not measured here.
    """

    cells: tuple[Cell, ...]
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under a head.

    Attributes:
        head: a cell for each column.
        align: a letter for each column: "l" for words, "r" for figures.
    """

    head: tuple[Cell, ...]
    align: str
    rows: tuple[Row, ...]


def systems(report: Report) -> list[str]:
    """Every system, in the order in which they were named."""
    return list(dict.fromkeys(system for values in report.values() for system in values))


def about(details: Details, collection: str, system: str = "") -> Mapping[str, Any]:
    """What details.json says of a collection, or of a system on it; {} if nothing."""
    said: Mapping[str, Any] = details["collections"].get(collection, {})
    return said.get("systems", {}).get(system, {}) if system else said


def each(report: Report, details: Details) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Collection, system, and what details.json says of the two."""
    for collection, values in report.items():
        for system in values:
            yield collection, system, about(details, collection, system)


def quality(report: Report, details: Details) -> Table:
    """Systems by collections in the headline measure, and their macro average."""
    measure, macro = details["measures"][0], details.get("macro") or {}
    counts = [amount(about(details, collection).get("queries")) for collection in report]
    head = [Cell("system"), *(Cell(c, f"{n} queries") for c, n in zip(report, counts, strict=True))]
    rows = _grid(report, details, systems(report), [(c, measure) for c in report])
    if macro:
        head.append(Cell(_MACRO, f"{len(report)} collections"))
        best = max(one["value"] for one in macro.values())
        ends = {s: _cell(one["value"], one.get("interval"), best) for s, one in macro.items()}
        own = [ends.get(row.cells[0].text, Cell(NOTHING)) for row in rows]
        rows = [Row((*row.cells, end), row.kind) for row, end in zip(rows, own, strict=True)]
    return _table(head, 1, rows)


def measures(report: Report, details: Details, collection: str) -> Table:
    """Systems by measures on one collection."""
    names = details["measures"]
    rows = _grid(report, details, list(report[collection]), [(collection, m) for m in names])
    return _table([Cell("system"), *map(Cell, names)], 1, rows)


def differences(report: Report, details: Details, measure: str) -> Table:
    """Each system less the baseline: mean of the queries' differences, tests and counts."""
    rows = []
    for collection, system, said in each(report, details):
        test = (said.get("against") or {}).get(measure)
        if test:
            counts = "/".join(str(test[part]) for part in ("wins", "ties", "losses"))
            few = " (few)" if test.get("small") else ""
            texts = [collection, system, f"{test['n']}{few}", signed(test["difference"])]
            texts += [span(test["interval"], sign=True), p_value(test["p"])]
            rows.append(_row([*texts, p_value(test["p_holm"]), counts]))
    for system, one in (details.get("macro") or {}).items():
        if measure == details["measures"][0] and one.get("difference") is not None:
            texts = [_MACRO, system, NOTHING, signed(one["difference"])]
            texts += [span(one.get("difference_interval"), sign=True), *[NOTHING] * 3]
            rows.append(_row(texts, "macro"))
    head = "collection, system, queries, difference, 95% interval, p, p (Holm), wins/ties/losses"
    return _table(map(Cell, head.split(", ")), 2, rows)


def published(report: Report, details: Details, measure: str) -> Table:
    """The figures measured here, and under them those that others published, with source."""
    listed = {c: about(details, c).get("published") or [] for c in report}
    said = {c: [one for one in listed[c] if one["measure"] == measure] for c in report}
    known = [collection for collection in report if said[collection]]
    rows = []
    for system in systems(report) if known else []:
        figures = [report[c].get(system, {}).get(measure) for c in known]
        rows.append(_row([system, *map(hundred, figures), "measured here"]))
    theirs: dict[tuple[str, str], dict[str, float]] = {}
    for collection in known:
        for one in said[collection]:
            theirs.setdefault((one["system"], one["source"]), {})[collection] = one["value"]
    for (system, source), values in theirs.items():
        texts = [system, *(hundred(values.get(c)) for c in known), f"published: {source}"]
        rows.append(_row(texts, "published"))
    table = _table([Cell("system"), *map(Cell, known), Cell("origin")], 1, rows)
    return Table(table.head, table.align[:-1] + "l", table.rows)


def costs(report: Report, details: Details) -> Table:
    """How each system ranked and what a query cost: means, and the median of its seconds."""
    rows = []
    for collection, system, said in each(report, details):
        cost = said.get("cost") or {}
        texts = [collection, system, said.get("schedule", ""), str(said.get("blend", ""))]
        texts += [amount(cost.get(part), 1) for part in ("calls", "turns", "hits")]
        texts += [amount(cost.get(f"{part}_tokens"), 0) for part in _TOKENS]
        rows.append(_row([*texts, *(amount(cost.get(part)) for part in ("seconds", "at_once"))]))
    head = [*map(Cell, ("collection", "system", "schedule", "blend", "calls", "turns"))]
    head += [Cell("kept", "replies"), *(Cell(part, "tokens") for part in _TOKENS)]
    return _table([*head, Cell("seconds", "median"), Cell("queries", "at once")], 3, rows)


def faults(report: Report, details: Details) -> Table:
    """What went wrong, beside the quality reached in spite of it: all of it is in the mean."""
    measure, rows = details["measures"][0], []
    for collection, system, said in each(report, details):
        value = hundred(report[collection][system].get(measure))
        listed = said.get("faults") or []
        if not listed and said.get("partial"):
            listed = [{}]
        for one in listed:
            texts = [collection, system, value, amount(said.get("partial")), one.get("kind", "")]
            texts += [amount(one.get("queries")), amount(one.get("times")), one.get("detail", "")]
            rows.append(_row(texts))
    head = ["collection", "system", measure, "ended early", "fault", "queries", "times", "example"]
    return Table(tuple(map(Cell, head)), "llrrlrrl", tuple(rows))


def rationales(report: Report, details: Details) -> Table:
    """How far the reasons cover the passages, quote them truly, and agree with the order."""
    parts = ("coverage", "groundedness", "agreement")
    rows = []
    for collection, system, said in each(report, details):
        shares = [(said.get("rationale") or {}).get(part) for part in parts]
        if any(share is not None for share in shares):
            rows.append(_row([collection, system, *(hundred(share, 1) for share in shares)]))
    return _table([Cell("collection"), Cell("system"), *map(Cell, parts)], 2, rows)


def shuffles(report: Report, details: Details) -> Table:
    """The headline measure when the candidates come in another order."""
    measure, rows = details["measures"][0], []
    for collection, system, said in each(report, details):
        if one := said.get("shuffled"):
            given = hundred(report[collection][system].get(measure))
            means = ", ".join(map(hundred, one["means"]))
            correlation = one.get("correlation")
            tau = NOTHING if correlation is None else f"{correlation:.3f}".replace("-", "−")
            texts = [collection, system, given, means, hundred(one.get("spread")), tau]
            rows.append(_row(texts))
    head = [Cell("collection"), Cell("system"), Cell("as given"), Cell("shuffled")]
    return _table([*head, Cell("spread"), Cell("Kendall tau-b")], 2, rows)


def collections(report: Report, details: Details) -> Table:
    """What was measured on."""
    rows = []
    for collection in report:
        one = about(details, collection)
        counts = [amount(one.get(part)) for part in ("queries", "passages", "judgements", "depth")]
        rows.append(_row([collection, *counts, one.get("first_stage", ""), one.get("source", "")]))
    head = ("collection", "queries", "passages", "judgements", "depth", "first stage", "source")
    return Table(tuple(map(Cell, head)), "lrrrrll", tuple(rows))


def _grid(
    report: Report, details: Details, names: Sequence[str], pairs: Sequence[tuple[str, str]]
) -> list[Row]:
    """A row a system, and for its policy alone; a column a collection and measure; the ceiling."""
    values = {s: [report[c].get(s, {}).get(m) for c, m in pairs] for s in names}
    columns = [[v for v in c if v is not None] for c in zip(*values.values(), strict=True)]
    best = [max(column) if len(column) > 1 else None for column in columns]

    def said(system: str, part: str) -> list[Any]:
        return [(about(details, c, system).get(part) or {}).get(m) for c, m in pairs]

    rows = []
    for system in names:
        cells = map(_cell, values[system], said(system, "intervals"), best)
        rows.append(Row((Cell(system), *cells)))
        alone = said(system, "alone")
        if any(value is not None for value in alone):
            rows.append(_row([f"{system}, alone", *map(hundred, alone)], "alone"))
    perfect = [about(details, c).get("perfect", {}).get(m) for c, m in pairs]
    if any(value is not None for value in perfect):
        rows.append(_row(["perfect order", *map(hundred, perfect)], "alone"))
    return rows


def _cell(value: float | None, interval: Sequence[float] | None, best: float | None) -> Cell:
    strong = value is not None and value == best
    return Cell(hundred(value), span(interval) if interval else "", strong)


def _row(texts: Sequence[str], kind: str = "") -> Row:
    return Row(tuple(map(Cell, texts)), kind)


def _table(head: Iterable[Cell], words: int, rows: Sequence[Row]) -> Table:
    """A table whose first columns are words and whose others are figures."""
    cells = tuple(head)
    return Table(cells, "l" * words + "r" * (len(cells) - words), tuple(rows))
