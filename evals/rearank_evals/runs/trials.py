"""The trials of a new report, and the systems of reports already made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from rearank_agent.data.collection import Collection
from rearank_agent.data.first_stage import FirstStage as Candidates
from rearank_agent.data.load import remarks
from rearank_agent.data.trec import qrels_text
from rearank_agent.errors import InputError
from rearank_agent.files import digest, write_text
from rearank_agent.policies.first_stage import FirstStage
from rearank_evals.runs.json_files import read_json, write_or_check
from rearank_evals.runs.run import System, Trial
from rearank_evals.runs.run_folder import ReportEntry, RunFolder, folder_name

__all__ = ["merge_entries", "read_entries", "trials"]


def trials(
    folder: Path,
    collection: Collection,
    first_stage: Candidates,
    systems: Sequence[System],
    shuffles: int = 0,
) -> Iterator[Trial]:
    """A trial a system, and one more for every shuffle; writes collection.json and qrels.txt.

    The first system is the first stage itself, and is not shuffled.

    Raises:
        InputError: the folder holds another collection of this name.
        SetupError: it cannot be written.
    """
    here = folder / folder_name(collection.name)
    qrels = qrels_text(collection.qrels)
    facts = _collection_facts(collection, first_stage, qrels)
    write_or_check(here / "collection.json", facts, ignore={"source"})
    write_text(here / "qrels.txt", qrels)
    for number, system in enumerate(systems):
        saved = RunFolder(here / folder_name(system.name))
        repetitions = shuffles if number else 0
        entry = ReportEntry(collection.name, system.name, saved, repetitions)
        yield Trial(system, collection, first_stage, entry)
        for shuffle in range(1, repetitions + 1):
            yield Trial(system, collection, first_stage, entry, shuffle)


def _collection_facts(
    collection: Collection, first_stage: Candidates, qrels: str
) -> dict[str, Any]:
    return {
        "name": collection.name,
        "source": collection.source,
        "queries": len(collection.queries),
        "passages": len(collection.corpus),
        "judgements": qrels.count("\n"),
        "first_stage": first_stage.name,
        "depth": first_stage.depth,
        "instruction": collection.instruction,
        "notes": [*remarks(collection), *first_stage.notes],
        "part": collection.part,
        "hash": collection.hash,
        "judgements hash": sha256(qrels.encode()).hexdigest(),
    }


def merge_entries(folders: Sequence[Path]) -> list[ReportEntry]:
    """The systems of several reports; one that is in several gets its folder after its name.

    First stages with equal runs are listed once.

    Raises:
        InputError: a folder holds no report.
    """
    folders = list({folder.resolve(): folder for folder in folders}.values())
    unique = len({folder.resolve().name for folder in folders}) == len(folders)
    found = [
        (entry, folder.resolve().name if unique else str(folder))
        for folder in folders
        for entry in read_entries(folder)
    ]
    runs: dict[tuple[str, ...], tuple[ReportEntry, str]] = {}
    for entry, label in found:
        runs.setdefault((entry.collection, entry.system, _identity(entry)), (entry, label))
    distinct = list(runs.values())
    counts = Counter((entry.collection, entry.system) for entry, _ in distinct)
    ambiguous = {system for (_, system), count in counts.items() if count > 1}
    return [
        replace(entry, system=f"{entry.system} ({label})") if entry.system in ambiguous else entry
        for entry, label in distinct
    ]


def read_entries(folder: Path) -> list[ReportEntry]:
    """The systems of a report, by the names it gives them.

    Raises:
        InputError: the folder holds no report.
    """
    if not (folder / "report.json").is_file():
        raise InputError(f"{folder} holds no report; eval writes it when all runs are finished")
    details = read_json(folder / "details.json")
    try:
        return [
            ReportEntry(
                name, system, RunFolder(folder / one["saved"]), (one["shuffled"] or {"k": 0})["k"]
            )
            for name, collection in details["collections"].items()
            for system, one in {**collection["systems"], **collection.get("unjudged", {})}.items()
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{folder / 'details.json'} is damaged: {error!r}") from None


def _identity(entry: ReportEntry) -> str:
    """For a first stage the hashes of run and judgements, which fix its values; else the folder."""
    saved = entry.saved
    if read_json(saved.manifest)["system"]["policy"] != FirstStage.fingerprint:
        return str(saved.folder.resolve())
    try:
        return digest(saved.run) + digest(entry.qrels)
    except OSError as error:
        raise InputError(f"{saved.folder} is damaged: {error.strerror or error}") from None
