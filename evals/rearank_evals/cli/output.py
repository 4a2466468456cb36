"""What a person sees of an evaluation: how far it is, and what it came to."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import fmean
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from rearank_agent.metrics import ndcg

if TYPE_CHECKING:
    from rearank_agent.types import Ranking
    from rearank_evals.runs.run import Trial

_DEPTH = 10  # of the running nDCG
_NAME = 14  # characters of a name beside a bar
_EVERY = 10.0  # seconds between lines where there is no terminal


class ProgressWatch:
    """The queries done so far: their number, running nDCG@10 and faults."""

    def __init__(self, trial: Trial, show: Progress | None) -> None:
        self.trial, self.show = trial, show
        from rearank_evals.report.numbers import shorten_name

        shuffled = f", shuffle {trial.shuffle}" if trial.shuffle else ""
        names = trial.collection.name, trial.system.name
        self.title = f"{names[0]}, {names[1]}{shuffled}"
        short = ", ".join(shorten_name(name, _NAME) for name in names) + shuffled
        self.values: list[float] = []
        self.faults = self.partial = self.new = 0
        self.started = self.told = time.monotonic()
        self.total = len(trial.collection.queries)
        self.bar = show.add_task(short, total=self.total, said="") if show else None

    def __call__(self, ranking: Ranking, kept: bool) -> None:
        """Take a record in, and tell of it."""
        grades = self.trial.collection.qrels[ranking.run]
        gains = [grades.get(name, 0) for name in ranking.ids]
        self.values.append(ndcg(gains, list(grades.values()), _DEPTH))
        self.faults += sum(fault.kind != "instruction" for fault in ranking.faults)
        self.partial += ranking.partial
        self.new += not kept
        if self.show and self.bar is not None:
            self.show.update(self.bar, completed=len(self.values), said=self.said)
        elif time.monotonic() - self.told > _EVERY:
            self.told = time.monotonic()
            self.line()

    @property
    def said(self) -> str:
        """Speed, running nDCG and faults."""
        mean = f"nDCG@10 {100 * fmean(self.values):.2f}" if self.values else ""
        speed = self.new / max(time.monotonic() - self.started, 1e-3)
        faults = f"faults: {self.faults}" if self.faults else ""
        return ", ".join(filter(None, (mean, f"{speed:.1f}/s" if self.new else "", faults)))

    def line(self) -> None:
        """Tell how far it is in one line, where there is no terminal to draw a bar in."""
        if not self.show:
            done = f"{len(self.values)} of {self.total} queries"
            print(f"{self.title}: {done}, {self.said}", file=sys.stderr, flush=True)

    def end(self, notes: Sequence[str]) -> None:
        """Tell that it is done, and what had to be mended."""
        self.line()
        for note in notes:
            self._print(f"note: {self.title}: {note}")

    def stop(self) -> None:
        """Tell what is kept of a run that was interrupted."""
        done = f"{len(self.values)} of {self.total} queries are kept"
        self._print(f"{self.title}: {done}; the same command goes on from there")

    def _print(self, text: str) -> None:
        if self.show:
            self.show.console.print(Text(text))
        else:
            print(text, file=sys.stderr, flush=True)


@contextmanager
def progress_bars() -> Iterator[Progress | None]:
    """Bars on stderr if it is a terminal, else None."""
    if not sys.stderr.isatty():
        yield None
        return
    columns = (
        TextColumn("{task.description}", markup=False), BarColumn(bar_width=None),
        MofNCompleteColumn(), TextColumn("{task.fields[said]}", style="dim"),
        TimeRemainingColumn(compact=True),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True, emoji=False)) as bars:
        yield bars


def print_report(report: dict[str, Any], details: dict[str, Any]) -> None:
    """Print a table of the headline measure for every collection."""
    from rearank_evals.report.numbers import format_measure

    console = Console(highlight=False, markup=False, emoji=False)
    for name, systems in report.items():
        about = details["collections"][name]
        head = f"{name}: {about['queries']} queries, {about['first_stage']}"
        console.print(Text(f"{head}, the first {about['depth']}", "bold"))
        console.print(_table(systems, about, details))
        for note in _notes(about, details["baseline"]):
            console.print(Text(note, "dim"))
        console.print()
    for system, one in details["macro"].items():
        low, high = one["interval"]
        told = f"{format_measure(one['value'])} ({format_measure(low)} to {format_measure(high)})"
        console.print(f"mean of {len(report)} collections, {system}: {told}")


def _table(systems: dict[str, Any], about: dict[str, Any], details: dict[str, Any]) -> Table:
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
        one = about["systems"][system]
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
            table.add_row(Text(f"{system} b=0", "dim"), format_measure(one["alone"][measure]))
    table.add_row(Text("perfect order", "dim"), format_measure(about["perfect"][measure]))
    return table


def _notes(about: dict[str, Any], baseline: str) -> Iterator[str]:
    """What a reader of the table should know."""
    yield f"change, p, better/equal/worse queries: against {baseline}"
    if any(
        t["small"] for one in about["systems"].values() for t in (one["against"] or {}).values()
    ):
        yield f"{about['queries']} queries are few: a difference must be large to mean something"
    yield from about["notes"]
    deaf = [s for s, one in about["systems"].items() if _has(one, "instruction")]
    if deaf:
        yield f"cannot follow the collection's instruction: {', '.join(deaf)}"
    for system, one in about["systems"].items():
        if faults := [fault for fault in one["faults"] if fault["kind"] != "instruction"]:
            counts = ", ".join(f"{fault['kind']} in {fault['queries']}" for fault in faults)
            yield f"{system}: faults, in queries: {counts}"


def _has(one: dict[str, Any], kind: str) -> bool:
    return any(fault["kind"] == kind for fault in one["faults"])
