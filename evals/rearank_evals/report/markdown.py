"""A report as Markdown, for review and for pasting elsewhere.

Text of collections and models is escaped and kept on one line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rearank_agent.text import printable, shorten
from rearank_evals.report import quality_tables, run_tables
from rearank_evals.report.numbers import format_difference
from rearank_evals.report.published import NOTE
from rearank_evals.report.table import (
    Cell,
    Details,
    Report,
    Table,
    details_of,
    each_system,
    systems,
)

__all__ = ["markdown_report"]

_CASES = 3  # of wins, and of losses; the page has ten, with their passages
_QUERY = 60  # characters
_HASH = 12  # characters of a checksum
# What has a meaning in Markdown or HTML; an underscore only where it could begin or end a word.
_ACTIVE = re.compile(r"([\\`*\[\]|~#$]|<(?=[a-zA-Z/!?])|&(?=[#\w]+;)|(?<!\w)_|_(?!\w))")


def markdown_report(report: Report, details: Details) -> str:
    """The Markdown document of report.json and details.json."""
    parts = [part for section in _SECTIONS for part in section(report, details)]
    return "\n\n".join(parts) + "\n"


def _quality(report: Report, details: Details) -> Iterator[str]:
    measure = details["measures"][0]
    yield f"# {measure} of {_count(systems(report), 'system')} on {_count(report, 'collection')}"
    yield (
        f"{details['date']}. Measures are shown x100; in brackets the 95% bootstrap interval "
        "of the mean over the queries. Bold is the highest in its column; “alone” is the policy "
        "without the first stage's ranks blended in, “perfect order” the best possible order of "
        "the candidates. Queries that failed are in every mean."
    )
    yield _rendered(quality_tables.quality(report, details))
    if len(details["measures"]) > 1:
        for collection in report:
            yield f"## All measures on {_escaped(collection)}"
            yield _rendered(quality_tables.measures(report, details, collection))


def _differences(report: Report, details: Details) -> Iterator[str]:
    measure = details["measures"][0]
    table = quality_tables.differences(report, details, measure)
    if table.rows:
        yield f"## Differences against {_escaped(details['baseline'])}"
        yield (
            f"{measure}, query by query: the mean difference with its interval, a paired t-test, "
            "and its p after Holm's correction over the systems. “few” marks too few queries to "
            "rely on the test."
        )
        yield _rendered(table)


def _published(report: Report, details: Details) -> Iterator[str]:
    for measure in details["measures"]:
        table = quality_tables.published(report, details, measure)
        if table.rows:
            yield f"## {measure}, beside published figures"
            yield NOTE
            yield _rendered(table)


def _costs(report: Report, details: Details) -> Iterator[str]:
    yield "## Costs"
    yield "Means per query; seconds are the median."
    yield _rendered(run_tables.costs(report, details))


def _faults(report: Report, details: Details) -> Iterator[str]:
    table = run_tables.faults(report, details)
    yield "## Faults, beside quality"
    if table.rows:
        yield "What was repaired, left out or failed. No query was dropped from the means."
        yield _rendered(table)
    else:
        yield "None: every query was answered completely."


def _rationales(report: Report, details: Details) -> Iterator[str]:
    table = run_tables.rationales(report, details)
    if table.rows:
        yield "## Rationales"
        yield (
            "Coverage: the share of passages that the reasoning mentions. Groundedness: the share "
            "of quoted spans that are in the passage. Agreement: how far the order follows the "
            "relevance levels stated."
        )
        yield _rendered(table)
    table = run_tables.shuffles(report, details)
    if table.rows:
        yield "## Order of candidates"
        yield (
            f"{details['measures'][0]} when the candidates are shuffled first; the spread is the "
            "standard deviation of the repetitions, tau-b the correlation of their orders."
        )
        yield _rendered(table)


def _cases(report: Report, details: Details) -> Iterator[str]:
    lines = []
    for collection, system, entry in each_system(report, details):
        for side in ("wins", "losses"):
            cases = [_case(one) for one in (entry.get(side) or [])[:_CASES]]
            if cases:
                lines.append(
                    f"- {_escaped(system)} on {_escaped(collection)}, {side}: {'; '.join(cases)}"
                )
    if lines:
        yield "## Largest wins and losses"
        yield "Passages and rationales of these and more queries are in `report.html`."
        yield "\n".join(lines)


def _case(one: Mapping[str, Any]) -> str:
    moved = format_difference(one["value"] - one["baseline"], 1)
    return f"{moved} “{_escaped(shorten(one['query'], _QUERY))}” ({_escaped(one['query_id'])})"


def _collections(report: Report, details: Details) -> Iterator[str]:
    yield "## Collections"
    yield _rendered(run_tables.collections(report, details))
    notes = []
    for collection in report:
        entry = details_of(details, collection)
        if instruction := entry.get("instruction"):
            notes.append(f"- {_escaped(collection)}: instruction “{_escaped(instruction)}”")
        notes += [f"- {_escaped(collection)}: {_escaped(one)}" for one in entry.get("notes") or []]
    if notes:
        yield "\n".join(notes)


def _provenance(_: Report, details: Details) -> Iterator[str]:
    yield "## How it was made"
    yield f"    {printable(details['command'])}"
    lines = [
        f"- {_escaped(name)}: {_escaped(hash_[:_HASH])}"
        for name, hash_ in (details.get("files") or {}).items()
    ]
    versions = {
        f"{name} {version}"
        for manifest in (details.get("manifests") or {}).values()
        for name, version in (manifest.get("versions") or {}).items()
    }
    versions |= {f"{name} {one}" for name, one in (details.get("versions") or {}).items()}
    if versions:
        lines.append(f"- versions: {', '.join(map(_escaped, sorted(versions)))}")
    if lines:
        yield "Checksums (first digits of SHA-256) and versions; `details.json` has them in full."
        yield "\n".join(lines)


_SECTIONS = (
    _quality, _differences, _published, _costs, _faults, _rationales, _cases, _collections,
    _provenance,
)  # fmt: skip


def _rendered(table: Table) -> str:
    """A Markdown table whose columns are also aligned in its source."""
    rows = (table.head, *(row.cells for row in table.rows))
    lines = [[_cell(cell) for cell in cells] for cells in rows]
    widths = [max(3, *map(len, column)) for column in zip(*lines, strict=True)]
    rule = [
        "-" * (w - 1) + (":" if a == "r" else "-") for w, a in zip(widths, table.align, strict=True)
    ]
    return "\n".join(_line(line, widths, table.align) for line in (lines[0], rule, *lines[1:]))


def _line(texts: Sequence[str], widths: Sequence[int], align: str) -> str:
    cells = zip(texts, widths, align, strict=True)
    return "| " + " | ".join(t.rjust(w) if a == "r" else t.ljust(w) for t, w, a in cells) + " |"


def _cell(cell: Cell) -> str:
    text = f"**{_escaped(cell.text)}**" if cell.strong else _escaped(cell.text)
    return f"{text} ({cell.under})" if cell.under else text


def _escaped(text: str) -> str:
    return _ACTIVE.sub(r"\\\1", printable(text))


def _count(things: Sequence[str] | Mapping[str, Any], noun: str) -> str:
    return f"{len(things)} {noun}{'' if len(things) == 1 else 's'}"
