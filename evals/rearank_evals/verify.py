"""A report, computed again from what its runs left."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rearank_agent.data.trec import Qrels, Run, read_qrels
from rearank_agent.errors import InputError
from rearank_agent.files import digest
from rearank_agent.metrics import ndcg
from rearank_evals.evaluate import evaluate
from rearank_evals.measures.official import means, measures, per_query
from rearank_evals.report.markdown import markdown_report
from rearank_evals.report.page import html_report
from rearank_evals.runs.json_files import read_json
from rearank_evals.runs.run_folder import ReportEntry
from rearank_evals.runs.trials import entries_of

__all__ = ["Check", "verify"]

_SAME = 1e-9
_PICTURE = re.compile(r"<svg.*?</svg>", re.DOTALL)  # drawn otherwise by other versions


@dataclass(frozen=True)
class Check:
    """Something that was looked at, and whether it is as it should be."""

    ok: bool
    said: str


def verify(folder: Path) -> Iterator[Check]:
    """Look at hashes; at records, runs and values; at our own nDCG, which must be ir_measures' on
    every query; and whether the whole report comes out again.

    Raises:
        InputError: there is no report, or it cannot be read.
    """
    report, details = read_json(folder / "report.json"), read_json(folder / "details.json")
    try:
        entries = entries_of(folder)
        yield from _hashes(folder, details["files"])
        for entry in entries:
            yield from _values(entry, report[entry.collection][entry.system])
        yield from _again(folder, entries, report, details)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{folder}: report.json and details.json do not fit: {error!r}") from None


def _again(
    folder: Path, entries: list[ReportEntry], report: Any, details: dict[str, Any]
) -> Iterator[Check]:
    """Whether the report that can be made now is the one that is there."""
    wanted = measures(details["measures"])
    try:
        made = evaluate(folder, entries, wanted, details["baseline"], details["command"])
    except InputError as error:
        yield Check(False, f"the report cannot be made again: {error}")
        return
    made[1]["date"] = details["date"]
    now = made[1]
    yield Check(_alike(made[0], report), "report.json comes out again")
    odd = [name for name in now if not _alike(now[name], details.get(name))]
    differs = f", but {', '.join(odd)}" if odd else ""
    yield Check(not odd, f"details.json comes out again{differs}")
    for name, text in (("report.md", markdown_report(*made)), ("report.html", html_report(*made))):
        written = (folder / name).read_text(encoding="utf-8")
        same = _PICTURE.sub("", written) == _PICTURE.sub("", text)
        yield Check(same, f"{name} comes out again")


def _alike(one: Any, two: Any) -> bool:
    """Whether two values of JSON are equal, numbers but for rounding."""
    if isinstance(one, dict) and isinstance(two, dict):
        return one.keys() == two.keys() and all(_alike(one[key], two[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(two, list | tuple):
        return len(one) == len(two) and all(map(_alike, one, two))
    if isinstance(one, float) and isinstance(two, int | float):
        return abs(one - two) < _SAME
    return bool(one == two)


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
    yield Check(
        bool(files) and same == len(files), f"{same} of {len(files)} files have the hash they had"
    )


def _values(entry: ReportEntry, reported: Mapping[str, float]) -> Iterator[Check]:
    what = f"{entry.collection}, {entry.system}"
    try:
        qrels, run = read_qrels(entry.qrels), entry.saved.read_run()
        orders = {ranking.run: ranking.ids for ranking in entry.saved.rankings()}
    except InputError as error:
        yield Check(False, f"{what}: {error}")
        return
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
