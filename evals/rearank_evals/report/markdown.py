"""A report as Markdown: what a reviewer reads first, and can paste elsewhere.

Whatever a collection or a model wrote is escaped and stands on one line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rearank_agent.text import printable, shorten
from rearank_evals.report import quality_tables, run_tables
from rearank_evals.report.numbers import format_difference
from rearank_evals.report.published import NOTE
from rearank_evals.report.table import Cell, Details, Report, Table, about, each, systems

__all__ = ["markdown_report"]

_CASES = 3  # of each side; the page has ten, with their passages
_QUERY = 60  # characters
_HASH = 12  # characters of a checksum
# What Markdown or HTML would obey; an underscore only where it could begin or end a word.
_ACTIVE = re.compile(r"([\\`*\[\]|~#$]|<(?=[a-zA-Z/!?])|&(?=[#\w]+;)|(?<!\w)_|_(?!\w))")


def markdown_report(report: Report, details: Details) -> str:
    """The whole document, from report.json and details.json as they were read."""
    parts = [part for section in _SECTIONS for part in section(report, details)]
    return "\n\n".join(parts) + "\n"


def _quality(report: Report, details: Details) -> Iterator[str]:
    measure = details["measures"][0]
    yield f"# {measure} of {_count(systems(report), 'system')} on {_count(report, 'collection')}"
    yield (
        f"{details['date']}. Measures are shown x100; in brackets the interval that holds 95% of "
        "the bootstrap means over the queries. Bold is the highest in its column; “alone” is the "
        "policy without the first stage's ranks blended in, “perfect order” the best that could be "
        "made of the candidates. Queries that failed are in every mean."
    )
    yield _printed(quality_tables.quality(report, details))
    if len(details["measures"]) > 1:
        for collection in report:
            yield f"## All measures on {_safe(collection)}"
            yield _printed(quality_tables.measures(report, details, collection))


def _differences(report: Report, details: Details) -> Iterator[str]:
    measure = details["measures"][0]
    table = quality_tables.differences(report, details, measure)
    if table.rows:
        yield f"## Differences against {_safe(details['baseline'])}"
        yield (
            f"{measure}, query by query: the mean difference with its interval, a paired t-test, "
            "and its p after Holm's correction over the systems. Where it says “few”, there are "
            "too few queries to lean on the test."
        )
        yield _printed(table)


def _published(report: Report, details: Details) -> Iterator[str]:
    for measure in details["measures"]:
        table = quality_tables.published(report, details, measure)
        if table.rows:
            yield f"## {measure}, beside published figures"
            yield NOTE
            yield _printed(table)


def _costs(report: Report, details: Details) -> Iterator[str]:
    yield "## Costs"
    yield "Means a query; seconds are the median query's."
    yield _printed(run_tables.costs(report, details))


def _faults(report: Report, details: Details) -> Iterator[str]:
    table = run_tables.faults(report, details)
    yield "## Faults, beside quality"
    if table.rows:
        yield "What was mended, left out or failed. Nothing of it was dropped from the means."
        yield _printed(table)
    else:
        yield "None: every query was answered whole."


def _reasons(report: Report, details: Details) -> Iterator[str]:
    table = run_tables.rationales(report, details)
    if table.rows:
        yield "## Rationales"
        yield (
            "Coverage: the share of passages that the reasoning speaks of. Groundedness: the share "
            "of quoted spans that stand in the passage. Agreement: how far the order follows the "
            "judgements stated."
        )
        yield _printed(table)
    table = run_tables.shuffles(report, details)
    if table.rows:
        yield "## Order of candidates"
        yield (
            f"{details['measures'][0]} when the candidates are shuffled first; the spread is the "
            "standard deviation of the repetitions, tau-b how alike their orders are."
        )
        yield _printed(table)


def _cases(report: Report, details: Details) -> Iterator[str]:
    lines = []
    for collection, system, said in each(report, details):
        for side in ("wins", "losses"):
            cases = [_case(one) for one in (said.get(side) or [])[:_CASES]]
            if cases:
                lines.append(
                    f"- {_safe(system)} on {_safe(collection)}, {side}: {'; '.join(cases)}"
                )
    if lines:
        yield "## Largest wins and losses"
        yield "Passages and reasons of these and more queries are in `report.html`."
        yield "\n".join(lines)


def _case(one: Mapping[str, Any]) -> str:
    moved = format_difference(one["value"] - one["baseline"], 1)
    return f"{moved} “{_safe(shorten(one['query'], _QUERY))}” ({_safe(one['query_id'])})"


def _collections(report: Report, details: Details) -> Iterator[str]:
    yield "## Collections"
    yield _printed(run_tables.collections(report, details))
    notes = []
    for collection in report:
        said = about(details, collection)
        told = said.get("instruction")
        notes += [f"- {_safe(collection)}: the judges were told “{_safe(told)}”"] if told else []
        notes += [f"- {_safe(collection)}: {_safe(note)}" for note in said.get("notes") or []]
    if notes:
        yield "\n".join(notes)


def _making(_: Report, details: Details) -> Iterator[str]:
    yield "## How it was made"
    yield f"    {printable(details['command'])}"
    lines = [
        f"- {_safe(name)}: {_safe(hash_[:_HASH])}"
        for name, hash_ in (details.get("files") or {}).items()
    ]
    versions = {
        f"{name} {version}"
        for manifest in (details.get("manifests") or {}).values()
        for name, version in (manifest.get("versions") or {}).items()
    }
    versions |= {f"{name} {one}" for name, one in (details.get("versions") or {}).items()}
    if versions:
        lines.append(f"- versions: {', '.join(map(_safe, sorted(versions)))}")
    if lines:
        yield "Checksums (the first places of SHA-256) and versions; `details.json` has all."
        yield "\n".join(lines)


_SECTIONS = (
    _quality, _differences, _published, _costs, _faults, _reasons, _cases, _collections, _making,
)  # fmt: skip


def _printed(table: Table) -> str:
    """A table whose columns also stand in line where Markdown is read as it is."""
    rows = (table.head, *(row.cells for row in table.rows))
    lines = [[_figure(cell) for cell in cells] for cells in rows]
    wide = [max(3, *map(len, column)) for column in zip(*lines, strict=True)]
    rule = [
        "-" * (w - 1) + (":" if a == "r" else "-") for w, a in zip(wide, table.align, strict=True)
    ]
    return "\n".join(_line(line, wide, table.align) for line in (lines[0], rule, *lines[1:]))


def _line(texts: Sequence[str], wide: Sequence[int], align: str) -> str:
    cells = zip(texts, wide, align, strict=True)
    return "| " + " | ".join(t.rjust(w) if a == "r" else t.ljust(w) for t, w, a in cells) + " |"


def _figure(cell: Cell) -> str:
    text = f"**{_safe(cell.text)}**" if cell.strong else _safe(cell.text)
    return f"{text} ({cell.under})" if cell.under else text


def _safe(text: str) -> str:
    return _ACTIVE.sub(r"\\\1", printable(text))


def _count(things: Sequence[str] | Mapping[str, Any], noun: str) -> str:
    return f"{len(things)} {noun}{'' if len(things) == 1 else 's'}"
