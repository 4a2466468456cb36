"""The terminal output of an evaluation: its progress, and a table of its results."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import fmean
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from rearank_agent.cli.console import console, print_note, styled
from rearank_agent.metrics import ndcg
from rearank_agent.text import one_line

if TYPE_CHECKING:
    from rearank_agent.types import Ranking
    from rearank_evals.runs.run import Trial

_CUTOFF = 10  # of the running nDCG
_NAME = 14  # characters of a name beside a bar
_INTERVAL = 10.0  # seconds between lines where there is no terminal


class RunProgress:
    """The progress of one trial: queries done, running nDCG@10 and faults, on stderr.

    Args:
        trial: that is run.
        bars: where its bar is drawn; None prints lines instead.
    """

    def __init__(self, trial: Trial, bars: Progress | None) -> None:
        self.trial, self.bars = trial, bars
        from rearank_evals.report.numbers import shorten_name

        shuffled = f", shuffle {trial.shuffle}" if trial.shuffle else ""
        names = trial.collection.name, trial.system.name
        self.title = f"{names[0]}, {names[1]}{shuffled}"
        short = ", ".join(shorten_name(name, _NAME) for name in names) + shuffled
        self.values: list[float] = []
        self.faults = self.partial = self.judged = self.new = 0
        self.started = self.printed = time.monotonic()
        self.total = len(trial.collection.queries)
        self.task = bars.add_task(one_line(short), total=self.total, status="") if bars else None

    def __call__(self, ranking: Ranking, resumed: bool) -> None:
        """Count a record, and show it; `resumed` if it was there before this run."""
        grades = self.trial.collection.qrels[ranking.run]
        gains = [grades.get(name, 0) for name in ranking.ids]
        self.values.append(ndcg(gains, list(grades.values()), _CUTOFF))
        self.faults += sum(fault.kind != "instruction" for fault in ranking.faults)
        self.partial += ranking.partial
        self.judged += ranking.judged
        self.new += not resumed
        if self.bars and self.task is not None:
            self.bars.update(self.task, completed=len(self.values), status=self.status)
        elif time.monotonic() - self.printed > _INTERVAL:
            self.printed = time.monotonic()
            self._print_line()

    @property
    def status(self) -> str:
        """Running nDCG (none while no reply could be read), speed and faults."""
        mean = f"nDCG@10 {100 * fmean(self.values):.2f}" if self.judged else ""
        speed = self.new / max(time.monotonic() - self.started, 1e-3)
        faults = f"faults: {self.faults}" if self.faults else ""
        return ", ".join(filter(None, (mean, f"{speed:.1f}/s" if self.new else "", faults)))

    def _print_line(self) -> None:
        """Print the progress in one line, where there is no terminal for a bar."""
        if not self.bars:
            done = f"{len(self.values)} of {self.total} queries"
            print_note(f"{self.title}: {done}, {self.status}")

    def finish(self, notes: Sequence[str]) -> None:
        """Print that it is done, with notes on what was repaired."""
        self._print_line()
        for note in notes:
            self._print(f"note: {self.title}: {note}")

    def interrupted(self) -> None:
        """Print how many records an interrupted run has."""
        done = f"{len(self.values)} of {self.total} queries are done"
        self._print(f"{self.title}: {done}; the same command resumes from there")

    def _print(self, text: str) -> None:
        if self.bars:
            self.bars.console.print(text)
        else:
            print_note(text)


@contextmanager
def progress_bars() -> Iterator[Progress | None]:
    """Progress bars on stderr if it is a terminal, else None."""
    if not sys.stderr.isatty():
        yield None
        return
    columns = (
        TextColumn("{task.description}", markup=False), BarColumn(bar_width=None),
        MofNCompleteColumn(), TextColumn("{task.fields[status]}", style="dim"),
        TimeRemainingColumn(compact=True),
    )  # fmt: skip
    with Progress(*columns, console=console(err=True)) as bars:
        yield bars


def print_report(report: dict[str, Any], details: dict[str, Any]) -> None:
    """Print a table of the headline measure for every collection."""
    from rearank_evals.report.numbers import format_measure

    out = console()
    for name, systems in report.items():
        collection = details["collections"][name]
        head = f"{name}: {collection['queries']} queries, {collection['first_stage']}"
        out.print(styled((f"{head}, the first {collection['depth']}", "bold")))
        out.print(_table(systems, collection, details))
        for note in _notes(collection, details["baseline"]):
            out.print(styled((note, "dim")))
        out.print()
    for system, one in details["macro"].items():
        low, high = map(format_measure, one["interval"])
        mean = f"{format_measure(one['value'])} ({low} to {high})"
        out.print(f"mean of {len(report)} collections, {system}: {mean}")


def _table(systems: dict[str, Any], collection: dict[str, Any], details: dict[str, Any]) -> Table:
    from rearank_evals.report.numbers import (
        MISSING,
        format_amount,
        format_difference,
        format_interval,
        format_measure,
        format_p,
    )

    measure = details["measures"][0]
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("system", overflow="fold")
    for column in (measure, "95% interval", "change", "p (Holm)", "+/=/-", "s/query"):
        table.add_column(column, justify="right")
    for system, values in systems.items():
        one = collection["systems"][system]
        test = (one["against"] or {}).get(measure)
        blend = f" b={one['blend']:g}" if one["blend"] else ""
        table.add_row(
            f"{system}{blend}",
            format_measure(values[measure]),
            format_interval(one["intervals"][measure]),
            format_difference(test["difference"]) if test else MISSING,
            format_p(test["p_holm"]) if test else MISSING,
            f"{test['wins']}/{test['ties']}/{test['losses']}" if test else MISSING,
            format_amount(one["cost"]["seconds"]),
        )
        if one["alone"]:
            table.add_row(styled((f"{system} b=0", "dim")), format_measure(one["alone"][measure]))
    table.add_row(styled(("perfect order", "dim")), format_measure(collection["perfect"][measure]))
    return table


def _notes(collection: dict[str, Any], baseline: str) -> Iterator[str]:
    """Notes under the table: what columns mean, small samples, faults."""
    yield f"change, p, queries better/equal/worse: against {baseline}"
    if any(
        t["small"]
        for one in collection["systems"].values()
        for t in (one["against"] or {}).values()
    ):
        yield f"{collection['queries']} queries are few: only large differences mean something"
    yield from collection["notes"]
    unable = [s for s, one in collection["systems"].items() if _has_fault(one, "instruction")]
    if unable:
        yield f"cannot follow the collection's instruction: {', '.join(unable)}"
    for system, one in collection["systems"].items():
        if faults := [fault for fault in one["faults"] if fault["kind"] != "instruction"]:
            counts = ", ".join(f"{fault['kind']} {fault['queries']}" for fault in faults)
            yield f"{system}: queries with faults: {counts}"


def _has_fault(one: dict[str, Any], kind: str) -> bool:
    return any(fault["kind"] == kind for fault in one["faults"])
