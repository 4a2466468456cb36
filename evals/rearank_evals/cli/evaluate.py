"""`eval`: any policy on any collection, with figures that can be checked."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from rearank_agent.cli.options import with_options
from rearank_agent.errors import InputError, require
from rearank_agent.redact import redact
from rearank_evals.cli.options import FIRST, CollectionOptions, SystemOptions

if TYPE_CHECKING:
    from rearank_evals.runs.run import System, Trial
    from rearank_evals.runs.run_folder import ReportEntry

_AT_ONCE = 16


class _CollectionFirst(TyperGroup):
    """A group whose first word is a collection, unless it is one of its commands."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or args[0] not in self.commands:
            args = ["run", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_CollectionFirst,
    help="Measure policies on collections, with statistics and a report.",
    add_completion=False,
    add_help_option=False,
    rich_markup_mode="rich",
)


Measures = Annotated[
    list[str] | None,
    typer.Option(
        "--measure",
        help="A measure as ir_measures writes it; repeatable, the first is the headline.  "
        "\\[nDCG@10, RR@10, R@100, Judged@10]",
        show_default=False,
    ),
]
Baseline = Annotated[str, typer.Option(help="The system the others are compared with.")]
Json = Annotated[bool, typer.Option("--json", help="Give report.json on stdout.")]


@app.command("run", no_args_is_help=True)
@with_options
def run(
    collection: Annotated[
        list[str],
        typer.Argument(
            help="A folder in BEIR's form, a BRIGHT folder, an ir_datasets id, or trec-dl or "
            "beir for the paper's sets.",
            show_default=False,
        ),
    ],
    *,
    judging: SystemOptions,
    blend: Annotated[
        float | None,
        typer.Option(min=0, help="How much the first stage counts.  \\[as the policy recommends]"),
    ] = None,
    choosing: CollectionOptions,
    shuffle: Annotated[
        int, typer.Option(min=0, max=100, help="Repeat so often with shuffled candidates.")
    ] = 0,
    measure: Measures = None,
    baseline: Baseline = FIRST,
    out: Annotated[
        Path | None,
        typer.Option(help="Where all is kept.  \\[runs/NAME-HASH]", show_default=False),
    ] = None,
    at_once: Annotated[
        int | None,
        typer.Option(
            min=1,
            help=f"Queries on their way at the same time.  \\[{_AT_ONCE} for models, else 1]",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure policies on collections, with statistics, costs and reasons.

    Every query is a record as soon as it is done: the same command goes on
    where a killed one stood. The report is for reading in a browser.

        rearank-agent eval examples/harbour --policy lexical --policy embedded

        rearank-agent eval compare runs/a runs/b

        rearank-agent eval verify runs/a
    """
    _ready()
    from rearank_evals.measures.official import DEFAULT, measures

    wanted = measures(measure or DEFAULT)
    told = f"{collection} {judging} {blend} {choosing} {shuffle}"
    folder = out or _folder(collection[0], told)
    entries, partial = _run(
        _planned(folder, collection, choosing, judging.systems(blend, baseline), shuffle), at_once
    )
    _report(folder, entries, wanted, baseline, as_json)
    if partial:
        raise typer.Exit(3)


def _planned(
    folder: Path,
    names: list[str],
    choosing: CollectionOptions,
    systems: list[System],
    shuffles: int,
) -> list[Trial]:
    from rearank_evals.runs.trials import trials

    return [
        trial
        for collection, first in choosing.collections(names)
        for trial in trials(folder, collection, first, systems, shuffles)
    ]


def _run(planned: Sequence[Trial], at_once: int | None) -> tuple[list[ReportEntry], bool]:
    """Run all trials; what is left for the report, and whether a query ended before its time."""
    from rearank_agent.reranker import run_sync
    from rearank_evals.cli.output import ProgressWatch, progress_bars
    from rearank_evals.runs.run import run

    partial = False
    with progress_bars() as bars:
        for trial in planned:
            watch = ProgressWatch(trial, bars)
            usual = _AT_ONCE if trial.system.reranker.policy.window else 1
            try:
                mended = run_sync(run(trial, at_once or usual, watch))
            except KeyboardInterrupt:
                watch.stop()
                raise
            watch.end(mended)
            partial |= watch.partial > 0
    return [trial.entry for trial in planned if not trial.shuffle], partial


def _report(
    folder: Path,
    entries: Sequence[ReportEntry],
    wanted: Sequence[Any],
    baseline: str,
    as_json: bool,
) -> None:
    from rearank_agent.cli.output import progress_bar
    from rearank_evals.cli.output import print_report
    from rearank_evals.evaluate import evaluate
    from rearank_evals.report.write import write_report

    with progress_bar("statistics and report"):
        report, details = evaluate(folder, entries, wanted, baseline, _command())
        write_report(folder, report, details)
    if as_json:
        print(json.dumps(report, ensure_ascii=False))
    else:
        print_report(report, details)
    print(f"report: {folder / 'report.html'}", file=sys.stderr)


@app.command()
def compare(
    folders: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="What eval left.", show_default=False)
    ],
    baseline: Baseline = FIRST,
    measure: Measures = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Where the report of all goes.  \\[runs/compared-HASH]", show_default=False
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Put the systems of several evaluations side by side.

    A system that several of them have is told apart by its folder.

        rearank-agent eval compare runs/a runs/b --baseline embedded
    """
    _ready()
    from rearank_evals.measures.official import DEFAULT, measures
    from rearank_evals.runs.trials import entries

    out = out or _folder("compared", str(folders))
    if any(out.resolve() == folder.resolve() for folder in folders):
        raise InputError(f"{out} holds one of those that are compared; give another --out")
    _report(out, entries(folders), measures(measure or DEFAULT), baseline, as_json)


@app.command()
def verify(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="What eval left.")],
) -> None:
    """Compute all values again from the saved runs, and check every file's hash."""
    _ready()
    from rearank_evals.verify import verify as checks

    bad = 0
    for check in checks(folder):
        print(f"{'ok ' if check.ok else 'BAD'}  {check.said}", flush=True)
        bad += not check.ok
    if bad:
        raise typer.Exit(1)


def _ready() -> None:
    """Raise SetupError if a package is missing that measuring needs."""
    require("eval", "eval", "ir_measures", "scipy", "matplotlib")


def _command() -> str:
    """What was typed, without secrets."""
    return redact(shlex.join(["rearank-agent", *sys.argv[1:]]))


def _folder(name: str, told: str) -> Path:
    """A folder of its own for everything that is run, so that the same goes on in it."""
    short = Path(name).resolve().name or "eval"
    return Path("runs") / f"{short}-{sha256(told.encode()).hexdigest()[:8]}"
