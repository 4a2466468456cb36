"""What is run for a report, and what reports already hold."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from evals.files import digest, write
from evals.first_stage import FirstStage
from evals.run import System, Trial
from evals.saved import Entry, Saved, claim, named, read_json
from rearank_agent.collection import Collection
from rearank_agent.errors import InputError
from rearank_agent.trec import qrels_text

__all__ = ["entries", "trials"]


def trials(
    folder: Path,
    collection: Collection,
    first: FirstStage,
    systems: Sequence[System],
    shuffles: int = 0,
) -> Iterator[Trial]:
    """Every system on a collection, and again for every shuffle; the collection is written down.

    The first system is the first stage itself, and is not shuffled.

    Raises:
        InputError: the folder holds another collection of this name.
        SetupError: it cannot be written.
    """
    here = folder / named(collection.name)
    claim(here / "collection.json", _about(collection, first))
    write(here / "qrels.txt", qrels_text(collection.qrels))
    for number, system in enumerate(systems):
        saved = Saved(here / named(system.name))
        yield Trial(system, collection, first, saved)
        for shuffle in range(1, shuffles + 1 if number else 1):
            again = Saved(saved.folder / f"shuffle-{shuffle}")
            yield Trial(system, collection, first, again, shuffle)


def _about(collection: Collection, first: FirstStage) -> dict[str, Any]:
    judged = qrels_text(collection.qrels)
    return {
        "name": collection.name,
        "source": collection.source,
        "hash": collection.hash,
        "judgements hash": sha256(judged.encode()).hexdigest(),
        "queries": len(collection.queries),
        "passages": len(collection.corpus),
        "judgements": judged.count("\n"),
        "first_stage": first.name,
        "depth": first.depth,
        "instruction": collection.instruction,
        "notes": [*collection.notes, *first.notes],
    }


def entries(folders: Sequence[Path]) -> list[Entry]:
    """All systems of several reports; one that stands in several has its folder beside its name.

    Raises:
        InputError: a folder holds no report.
    """
    found = [entry for folder in dict.fromkeys(folders) for entry in _entries(folder)]
    runs: dict[tuple[str, str], dict[str, Entry]] = {}
    for entry in found:  # equal runs are one
        same = runs.setdefault((entry.collection, entry.system), {})
        same.setdefault(_content(entry.saved), entry)
    several = {key[1] for key, same in runs.items() if len(same) > 1}
    return [
        Entry(name, _label(entry) if system in several else system, entry.saved)
        for (name, system), same in runs.items()
        for entry in same.values()
    ]


def _entries(folder: Path) -> Iterator[Entry]:
    if not (folder / "report.json").is_file():
        raise InputError(f"{folder} holds no report; make one with: rearank-agent eval --out")
    details = read_json(folder / "details.json")
    for name, collection in details["collections"].items():
        for system, one in collection["systems"].items():
            yield Entry(name, system, Saved(folder / one["saved"]))


def _content(saved: Saved) -> str:
    """Of the system, its run and the judgements: where it is equal, all figures are."""
    system = json.dumps(read_json(saved.manifest)["system"], sort_keys=True)
    try:
        return digest(saved.run) + digest(saved.folder.parent / "qrels.txt") + system
    except OSError as error:
        raise InputError(f"{saved.folder} is damaged: {error.strerror or error}") from None


def _label(entry: Entry) -> str:
    return f"{entry.system} ({entry.saved.folder.parent.parent.name})"
