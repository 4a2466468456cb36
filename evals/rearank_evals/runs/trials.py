"""What is run for a report, and what reports already hold."""

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
from rearank_evals.runs.json_files import claim, read_json
from rearank_evals.runs.run import System, Trial
from rearank_evals.runs.run_folder import ReportEntry, RunFolder, folder_name

__all__ = ["entries", "entries_of", "trials"]


def trials(
    folder: Path,
    collection: Collection,
    first: Candidates,
    systems: Sequence[System],
    shuffles: int = 0,
) -> Iterator[Trial]:
    """Every system on a collection, and again for every shuffle; the collection is written down.

    The first system is the first stage itself, and is not shuffled.

    Raises:
        InputError: the folder holds another collection of this name.
        SetupError: it cannot be written.
    """
    here = folder / folder_name(collection.name)
    judged = qrels_text(collection.qrels)
    claim(here / "collection.json", _about(collection, first, judged), free={"source"})
    write_text(here / "qrels.txt", judged)
    for number, system in enumerate(systems):
        saved = RunFolder(here / folder_name(system.name))
        again = shuffles if number else 0
        entry = ReportEntry(collection.name, system.name, saved, again)
        yield Trial(system, collection, first, entry)
        for shuffle in range(1, again + 1):
            yield Trial(system, collection, first, entry, shuffle)


def _about(collection: Collection, first: Candidates, judged: str) -> dict[str, Any]:
    return {
        "name": collection.name,
        "source": collection.source,
        "queries": len(collection.queries),
        "passages": len(collection.corpus),
        "judgements": judged.count("\n"),
        "first_stage": first.name,
        "depth": first.depth,
        "instruction": collection.instruction,
        "notes": [*remarks(collection), *first.notes],
        "part": collection.part,
        "hash": collection.hash,
        "judgements hash": sha256(judged.encode()).hexdigest(),
    }


def entries(folders: Sequence[Path]) -> list[ReportEntry]:
    """All systems of several reports; one that stands in several has its folder beside its name.

    Of the first stage one will do where its runs are equal.

    Raises:
        InputError: a folder holds no report.
    """
    folders = list({folder.resolve(): folder for folder in folders}.values())
    alone = len({folder.resolve().name for folder in folders}) == len(folders)
    found = [
        (entry, folder.resolve().name if alone else str(folder))
        for folder in folders
        for entry in entries_of(folder)
    ]
    runs: dict[tuple[str, ...], tuple[ReportEntry, str]] = {}
    for entry, at in found:
        runs.setdefault((entry.collection, entry.system, _content(entry)), (entry, at))
    kept = list(runs.values())
    times = Counter((entry.collection, entry.system) for entry, _ in kept)
    several = {system for (_, system), count in times.items() if count > 1}
    return [
        replace(entry, system=f"{entry.system} ({at})") if entry.system in several else entry
        for entry, at in kept
    ]


def entries_of(folder: Path) -> list[ReportEntry]:
    """The systems of a report, as it names them.

    Raises:
        InputError: the folder holds no report.
    """
    if not (folder / "report.json").is_file():
        raise InputError(f"{folder} holds no report, or not yet: eval writes it when all is run")
    details = read_json(folder / "details.json")
    try:
        return [
            ReportEntry(
                name, system, RunFolder(folder / one["saved"]), (one["shuffled"] or {"k": 0})["k"]
            )
            for name, collection in details["collections"].items()
            for system, one in collection["systems"].items()
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{folder / 'details.json'} is damaged: {error!r}") from None


def _content(entry: ReportEntry) -> str:
    """Of a first stage: its run and judgements, all that its figures rest on; else the folder."""
    saved = entry.saved
    if read_json(saved.manifest)["system"]["policy"] != FirstStage.fingerprint:
        return str(saved.folder.resolve())
    try:
        return digest(saved.run) + digest(entry.qrels)
    except OSError as error:
        raise InputError(f"{saved.folder} is damaged: {error.strerror or error}") from None
