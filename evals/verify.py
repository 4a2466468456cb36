"""A report, computed again from what its runs left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evals.files import digest
from evals.measures import means, measures, per_query
from evals.saved import Saved, read_json
from rearank_agent.errors import InputError
from rearank_agent.metrics import ndcg
from rearank_agent.trec import Qrels, Run, read_qrels

__all__ = ["Check", "verify"]

_SAME = 1e-9


@dataclass(frozen=True)
class Check:
    """Something that was looked at, and whether it is as it should be."""

    ok: bool
    said: str


def verify(folder: Path) -> Iterator[Check]:
    """Check hashes, that records and runs agree, that values come out again, and that our own
    nDCG is ir_measures' on every query.

    Raises:
        InputError: there is no report, or a file of it cannot be read.
    """
    report, details = read_json(folder / "report.json"), read_json(folder / "details.json")
    try:
        yield from _hashes(folder, details["files"])
        for name, systems in report.items():
            for system, values in systems.items():
                saved = Saved(folder / details["collections"][name]["systems"][system]["saved"])
                yield from _values(f"{name}, {system}", saved, values)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{folder}: report.json and details.json do not fit: {error!r}") from None


def _hashes(folder: Path, files: Mapping[str, str]) -> Iterator[Check]:
    same = 0
    for name, hash_ in files.items():
        try:
            ok, said = digest(folder / name) == hash_, "is not what it was"
        except OSError as error:
            ok, said = False, f"cannot be read: {error.strerror or error}"
        same += ok
        if not ok:
            yield Check(False, f"{name} {said}")
    yield Check(same == len(files), f"{same} of {len(files)} files have the hash they had")


def _values(what: str, saved: Saved, reported: Mapping[str, float]) -> Iterator[Check]:
    qrels, run = read_qrels(saved.folder.parent / "qrels.txt"), saved.read_run()
    orders = {ranking.run: ranking.ids for ranking in saved.rankings()}
    odd = [q for q in qrels if orders.get(q, ()) != tuple(run.get(q, ()))]
    yield Check(not odd, f"{what}: {len(qrels) - len(odd)} of {len(qrels)} records give the run")
    values = per_query(measures(reported), qrels, run)
    for measure, value in means(values).items():
        ok = abs(value - reported[measure]) < _SAME
        differs = "" if ok else f", reported {reported[measure]!r}"
        yield Check(ok, f"{what}: {measure} {value:.6f}{differs}")
    if (official := values.get("nDCG@10")) is not None:
        yield _own(what, qrels, run, official)


def _own(what: str, qrels: Qrels, run: Run, official: Mapping[str, Any]) -> Check:
    """Whether our own nDCG, that of rewards, says the same of every query."""
    off = 0
    for query, grades in qrels.items():
        gains = [grades.get(passage, 0) for passage in run.get(query, ())]
        off += abs(ndcg(gains, list(grades.values()), 10) - official[query]) >= _SAME
    same = len(qrels) - off
    return Check(
        not off, f"{what}: our nDCG@10 is the official one on {same} of {len(qrels)} queries"
    )
