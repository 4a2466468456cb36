"""Every system on every collection, measured, and checked to be comparable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rearank_agent.data.trec import Qrels, read_qrels
from rearank_agent.errors import InputError
from rearank_evals.measures.official import per_query
from rearank_evals.measures.outcome import Outcome, outcome
from rearank_evals.runs.run_folder import ReportEntry

__all__ = ["Measured", "judged", "measured_systems", "unjudged", "unjudged_notes"]


@dataclass
class Measured:
    """A system on a collection: its files, judgements, values by measure and query, the rest."""

    entry: ReportEntry
    qrels: Qrels
    values: dict[str, dict[str, float]]
    outcome: Outcome


def measured_systems(
    entries: Sequence[ReportEntry], measures: Sequence[Any], baseline: str
) -> dict[str, dict[str, Measured]]:
    """Every system by collection and name, measured; in a collection those with figures first.

    Raises:
        InputError: the systems of a collection cannot be compared, or two have one name.
    """
    found = _by_collection(entries, measures)
    for name, systems in found.items():
        _check_comparable(name, systems, baseline)
    return {name: judged(systems) | unjudged(systems) for name, systems in found.items()}


def _by_collection(
    entries: Sequence[ReportEntry], measures: Sequence[Any]
) -> dict[str, dict[str, Measured]]:
    """Every system on every collection, measured."""
    found: dict[str, dict[str, Measured]] = {}
    qrels = {path: read_qrels(path) for path in {entry.qrels for entry in entries}}
    for entry in entries:
        systems = found.setdefault(entry.collection, {})
        if entry.system in systems:
            raise InputError(f"{entry.collection} has two systems named {entry.system}")
        systems[entry.system] = _measure(entry, qrels[entry.qrels], measures)
    return found


def _measure(entry: ReportEntry, qrels: Qrels, measures: Sequence[Any]) -> Measured:
    values = per_query(measures, qrels, entry.saved.read_run())
    return Measured(entry, qrels, values, outcome(entry.saved.rankings()))


def _check_comparable(name: str, systems: Mapping[str, Measured], baseline: str) -> None:
    (first, one), *others = systems.items()
    for system, other in others:
        if other.qrels != one.qrels:
            raise InputError(
                f"{system} and {first} were measured on different queries or judgements of {name}: "
                f"{other.entry.qrels} and {one.entry.qrels} differ"
            )
    if baseline in systems and not systems[baseline].outcome.judged:
        why = _why_unjudged(systems[baseline])
        raise InputError(f"{baseline} cannot be compared with on {name}: {why}")
    if baseline not in systems:
        raise InputError(
            f"{name} has no system {baseline!r} to compare with; it has: {', '.join(systems)}"
        )


def judged(systems: Mapping[str, Measured]) -> dict[str, Measured]:
    """The systems that gave an order for at least one query: only these have figures."""
    return {system: one for system, one in systems.items() if one.outcome.judged}


def unjudged(systems: Mapping[str, Measured]) -> dict[str, Measured]:
    """The systems that gave no order at all."""
    return {system: one for system, one in systems.items() if not one.outcome.judged}


def unjudged_notes(systems: Mapping[str, Measured]) -> Iterator[str]:
    """A note for every system without a figure."""
    for system, one in systems.items():
        yield f"{system} has no figure: {_why_unjudged(one)}"


def _why_unjudged(one: Measured) -> str:
    faults = "; ".join(f"{f['kind']}: {f['detail']}" for f in one.outcome.fault_counts[:2])
    return f"it gave no order for any query, so all are as given ({faults or 'no candidates'})"
