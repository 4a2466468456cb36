"""Recomputes a report from the files of its runs, and compares."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
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
from rearank_evals.runs.trials import read_entries

__all__ = ["Check", "verify"]

_TOLERANCE = 1e-9
_SVG = re.compile(r"<svg.*?</svg>", re.DOTALL)  # differs between versions of matplotlib


@dataclass(frozen=True)
class Check:
    """The result of one check: whether it passed, and a line that says what was found."""

    ok: bool
    message: str


def verify(folder: Path) -> Iterator[Check]:
    """Check the files' hashes, that records, runs and values agree, that our own nDCG equals
    ir_measures' on every query, and that the report is reproduced.

    Raises:
        InputError: there is no report, or it cannot be read.
    """
    report, details = read_json(folder / "report.json"), read_json(folder / "details.json")
    try:
        entries = read_entries(folder)
        yield from _hashes(folder, details["files"])
        for entry in entries:
            if reported := report[entry.collection].get(entry.system):  # else it has no figure
                yield from _values(entry, reported)
        yield from _regenerated(folder, entries, report, details)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{folder}: report.json or details.json is damaged: {error!r}") from None


def _regenerated(
    folder: Path, entries: list[ReportEntry], report: Any, details: dict[str, Any]
) -> Iterator[Check]:
    """Whether the files of the report are the same when they are made again."""
    wanted = measures(details["measures"])
    try:
        new_report, new_details = evaluate(
            folder, entries, wanted, details["baseline"], details["command"]
        )
    except InputError as error:
        yield Check(False, f"the report cannot be recomputed: {error}")
        return
    new_details["date"] = details["date"]
    yield _reproduced("report.json", _equal(new_report, report))
    differing = [key for key in new_details if not _equal(new_details[key], details.get(key))]
    yield _reproduced("details.json", not differing, differing)
    texts = {
        "report.md": markdown_report(new_report, new_details),
        "report.html": html_report(new_report, new_details),
    }
    for name, text in texts.items():
        written = (folder / name).read_text(encoding="utf-8")
        yield _reproduced(name, _SVG.sub("", written) == _SVG.sub("", text))


def _reproduced(name: str, ok: bool, differing: Sequence[str] = ()) -> Check:
    keys = f": {', '.join(differing)}" if differing else ""
    return Check(ok, f"{name} is reproduced" if ok else f"{name} is not reproduced{keys}")


def _equal(one: Any, two: Any) -> bool:
    """Whether two JSON values are equal; floats up to rounding."""
    if isinstance(one, dict) and isinstance(two, dict):
        return one.keys() == two.keys() and all(_equal(one[key], two[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(two, list | tuple):
        return len(one) == len(two) and all(map(_equal, one, two))
    if isinstance(one, float) and isinstance(two, int | float):
        return abs(one - two) < _TOLERANCE
    return bool(one == two)


def _hashes(folder: Path, files: Mapping[str, str]) -> Iterator[Check]:
    same = 0
    for name, hash_ in files.items():
        try:
            ok, problem = digest(folder / name) == hash_, "has changed"
        except OSError as error:
            ok, problem = False, f"cannot be read: {error.strerror or error}"
        same += ok
        if not ok:
            yield Check(False, f"{name} {problem}")
    all_same = bool(files) and same == len(files)
    yield Check(all_same, f"{same} of {len(files)} files have their recorded hash")


def _values(entry: ReportEntry, reported: Mapping[str, float]) -> Iterator[Check]:
    what = f"{entry.collection}, {entry.system}"
    try:
        qrels, run = read_qrels(entry.qrels), entry.saved.read_run()
        orders = {ranking.run: ranking.ids for ranking in entry.saved.rankings()}
    except InputError as error:
        yield Check(False, f"{what}: {error}")
        return
    differing = [q for q in qrels if orders.get(q, ()) != tuple(run.get(q, ()))]
    same = len(qrels) - len(differing)
    yield Check(not differing, f"{what}: {same} of {len(qrels)} records agree with the run")
    values = per_query(measures(reported), qrels, run)
    for measure, value in means(values).items():
        ok = abs(value - reported[measure]) < _TOLERANCE
        differs = "" if ok else f", reported {reported[measure]!r}"
        yield Check(ok, f"{what}: {measure} {value:.6f}{differs}")
    if (official := values.get("nDCG@10")) is not None:
        yield _own_ndcg(what, qrels, run, official)


def _own_ndcg(what: str, qrels: Qrels, run: Run, official: Mapping[str, Any]) -> Check:
    """Whether our own nDCG, that of rewards, says the same of every query."""
    off = 0
    for query, grades in qrels.items():
        gains = [grades.get(passage, 0) for passage in run.get(query, ())]
        off += abs(ndcg(gains, list(grades.values()), 10) - official[query]) >= _TOLERANCE
    same = len(qrels) - off
    return Check(
        not off, f"{what}: our nDCG@10 equals the official one on {same} of {len(qrels)} queries"
    )
