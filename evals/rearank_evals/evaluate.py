"""The report of saved runs: official values, statistics, costs, cases."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rearank_agent.files import digest
from rearank_evals.measured import Measured, judged, measured_systems, unjudged, unjudged_notes
from rearank_evals.measures.official import means, per_query
from rearank_evals.measures.outcome import case
from rearank_evals.measures.robustness import robustness
from rearank_evals.measures.stats import compare, interval, macro
from rearank_evals.report.published import published
from rearank_evals.runs.json_files import read_json
from rearank_evals.runs.run_folder import ReportEntry

__all__ = ["Report", "evaluate", "relative_path"]

_CASES = 10  # wins, and losses, of a system
_PACKAGES = ("ir-measures", "pytrec-eval-terrier", "scipy")
Report = dict[str, dict[str, dict[str, float]]]
"""{collection: {system: {measure: value}}}, values in 0..1."""


def evaluate(
    folder: Path,
    entries: Sequence[ReportEntry],
    measures: Sequence[Any],
    baseline: str,
    command: str,
) -> tuple[Report, dict[str, Any]]:
    """Report and details, the contents of report.json and details.json (docs/evaluation.md).

    Args:
        folder: of the report; paths in the details are relative to it.
        entries: every system on every collection.
        measures: as `measures.measures` gives them; the first is the headline.
        baseline: the system the others are compared with.
        command: the command line that made the report.

    Raises:
        InputError: the systems of a collection were measured on different queries or
            judgements; the baseline is none of them; a file is damaged.
    """
    names = [str(measure) for measure in measures]
    measured = measured_systems(entries, measures, baseline)
    entries = [one.entry for systems in measured.values() for one in systems.values()]
    by_collection = {name: judged(systems) for name, systems in measured.items()}
    report = {
        name: {system: means(one.values) for system, one in systems.items()}
        for name, systems in by_collection.items()
    }
    details = {
        "kind": "eval",
        "version": 1,
        "date": datetime.now(UTC).date().isoformat(),
        "command": command,
        "measures": names,
        "baseline": baseline,
        "collections": {
            name: _collection_details(folder, systems, measures, baseline, unjudged(measured[name]))
            for name, systems in by_collection.items()
        },
        "macro": _macro(by_collection, names[0], baseline),
        "versions": {name: version(name) for name in _PACKAGES},
        "files": _files(folder, entries),
        "manifests": {
            f"{entry.collection}/{entry.system}": read_json(entry.saved.manifest)
            for entry in entries
        },
    }
    return report, details


def _collection_details(
    folder: Path,
    systems: Mapping[str, Measured],
    measures: Sequence[Any],
    baseline: str,
    without_figure: Mapping[str, Measured],
) -> dict[str, Any]:
    facts = read_json(systems[baseline].entry.collection_file)
    names = [str(measure) for measure in measures]
    compared = {
        measure: compare({s: one.values[measure] for s, one in systems.items()}, baseline)
        for measure in names
    }
    rows = {}
    for system, one in systems.items():
        reference = None if system == baseline else systems[baseline]
        rows[system] = {
            "saved": relative_path(folder, one.entry.saved.folder),
            **_system_details(one, measures),
            "against": reference and {name: asdict(compared[name][system]) for name in names},
            **_cases(one, reference, names[0]),
        }
    perfect = _perfect_order(systems[baseline], measures)
    keys = ("source", "queries", "passages", "judgements", "first_stage", "depth", "instruction")
    return {
        **{key: facts[key] for key in keys},
        "notes": [
            *unjudged_notes(without_figure),
            *facts["notes"],
            *_candidate_notes(systems),
            *_zero_notes(perfect),
        ],
        "perfect": perfect,
        "published": [] if facts["part"] else [asdict(row) for row in published(facts["name"])],
        "systems": rows,
        "unjudged": {
            system: {"saved": relative_path(folder, one.entry.saved.folder), "shuffled": None}
            for system, one in without_figure.items()
        },
    }


def _candidate_notes(systems: Mapping[str, Measured]) -> Iterator[str]:
    """A note a list of candidates, where systems did not rerank the same ones."""
    found: dict[str, list[str]] = {}
    for system, one in systems.items():
        first = read_json(one.entry.saved.manifest)["first stage"]
        candidates = f"{first['name']}, the first {first['depth']} ({first['hash'][:8]})"
        found.setdefault(candidates, []).append(system)
    if len(found) > 1:
        for candidates, names in found.items():
            yield f"candidates of {', '.join(names)}: {candidates}"


def _zero_notes(perfect: Mapping[str, float]) -> Iterator[str]:
    """A note for every measure in which even a perfect order has 0."""
    for measure, value in perfect.items():
        if value == 0:
            yield f"{measure} is 0 whatever the order: no candidate counts as relevant"


def _perfect_order(one: Measured, measures: Sequence[Any]) -> dict[str, float]:
    """The measures of the best possible order of the same candidates."""
    orders = {
        query: sorted(ids, key=lambda passage: -one.qrels[query].get(passage, 0))
        for query, ids in one.outcome.orders.items()
    }
    return means(per_query(measures, one.qrels, orders))


def _system_details(one: Measured, measures: Sequence[Any]) -> dict[str, Any]:
    """The details of a system that do not depend on other systems."""
    manifest, found = read_json(one.entry.saved.manifest), one.outcome
    system = manifest["system"]
    return {
        "policy": found.policy,
        "schedule": system["schedule"],
        "blend": system["blend"],
        "intervals": {m: interval(list(v.values())) for m, v in one.values.items()},
        "alone": means(per_query(measures, one.qrels, found.unblended_orders))
        if system["blend"] and found.has_scores
        else None,
        "per_query": one.values,
        "cost": found.cost | {"at_once": manifest["at once"]},
        "faults": found.fault_counts,
        "partial": sum(found.partial.values()),
        "rationale": found.rationale,
        "shuffled": robustness(one.entry.shuffled, one.qrels, measures[0]),
    }


def _cases(one: Measured, baseline: Measured | None, measure: str) -> dict[str, Any]:
    """The queries with the largest differences to the baseline, largest first."""
    if baseline is None:
        return {"wins": [], "losses": []}
    ours, theirs = one.values[measure], baseline.values[measure]
    differences = {query: ours[query] - theirs[query] for query in ours}
    ordered = sorted(differences, key=lambda query: -differences[query])
    wins = [query for query in ordered[:_CASES] if differences[query] > 0]
    losses = [query for query in ordered[::-1][:_CASES] if differences[query] < 0]
    cases = {
        ranking.run: case(ranking, one.qrels, ours[ranking.run], theirs[ranking.run])
        for ranking in one.entry.saved.rankings({*wins, *losses})
    }
    return {"wins": [cases[q] for q in wins], "losses": [cases[q] for q in losses]}


def _macro(
    by_collection: Mapping[str, Mapping[str, Measured]], measure: str, baseline: str
) -> dict[str, Any]:
    """Means over the collections, for the systems that ran on all of them."""
    if len(by_collection) < 2:
        return {}
    systems = dict.fromkeys(system for of in by_collection.values() for system in of)
    everywhere = {
        system: {name: v[system].values[measure] for name, v in by_collection.items()}
        for system in systems
        if all(system in v for v in by_collection.values())
    }
    if baseline not in everywhere:
        return {}
    return {system: asdict(one) for system, one in macro(everywhere, baseline).items()}


def _files(folder: Path, entries: Sequence[ReportEntry]) -> dict[str, str]:
    """The SHA-256 of every file the report is made from."""
    paths = dict.fromkeys(
        path
        for entry in entries
        for path in (entry.qrels, entry.collection_file, *sorted(entry.saved.folder.rglob("*")))
        if path.is_file()
    )
    return {relative_path(folder, path): digest(path) for path in paths}


def relative_path(folder: Path, path: Path) -> str:
    """The path relative to the folder, with forward slashes on every system."""
    return Path(os.path.relpath(path, folder)).as_posix()
