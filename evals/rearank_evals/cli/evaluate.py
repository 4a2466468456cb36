"""The command `eval`: any policy on any collection, with values that can be verified."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from rearank_agent.cli.console import print_json, print_line, print_note, progress_bar
from rearank_agent.cli.options import with_options
from rearank_agent.errors import InputError
from rearank_agent.extras import require
from rearank_agent.redact import redact
from rearank_agent.reranker import AT_ONCE
from rearank_evals.cli.options import FIRST, CollectionOptions, SystemOptions

if TYPE_CHECKING:
    from rearank_evals.runs.run import System, Trial
    from rearank_evals.runs.run_folder import ReportEntry


class _CollectionFirst(TyperGroup):
    """A command group: a first argument that is none of its commands goes to `run`."""

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
Json = Annotated[bool, typer.Option("--json", help="Print report.json on stdout.")]


@app.command(
    "run",
    no_args_is_help=True,
    epilog="Other commands: eval compare, eval verify; each has --help.",
)
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
    system_options: SystemOptions,
    blend: Annotated[
        float | None,
        typer.Option(
            min=0, help="The weight of the first stage's rank.  \\[as the policy recommends]"
        ),
    ] = None,
    collection_options: CollectionOptions,
    shuffle: Annotated[
        int, typer.Option(min=0, max=100, help="Repetitions with shuffled candidates.")
    ] = 0,
    measure: Measures = None,
    baseline: Baseline = FIRST,
    out: Annotated[
        Path | None,
        typer.Option(help="The folder of runs and report.  \\[runs/NAME-HASH]", show_default=False),
    ] = None,
    at_once: Annotated[
        int | None,
        typer.Option(
            min=1,
            help=f"Queries in flight at the same time.  \\[{AT_ONCE} for models, else 1]",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure policies on collections, with statistics, costs and rationales.

    Every query is recorded as soon as it is done: after an interruption the
    same command resumes. The report is a page for the browser.

        rearank-agent eval examples/harbour --policy lexical --policy embedded

        rearank-agent eval compare runs/a runs/b

        rearank-agent eval verify runs/a
    """
    _require_packages()
    from rearank_evals.measures.official import DEFAULT, measures

    wanted = measures(measure or DEFAULT)
    options = f"{collection} {system_options} {blend} {collection_options} {shuffle}"
    folder = out or _default_folder(collection[0], options)
    systems = system_options.systems(blend, baseline)
    planned = _trials(folder, collection, collection_options, systems, shuffle)
    entries, partial = _run(planned, at_once)
    _report(folder, entries, wanted, baseline, as_json)
    if partial:
        raise typer.Exit(3)


def _trials(
    folder: Path,
    names: list[str],
    collection_options: CollectionOptions,
    systems: list[System],
    shuffles: int,
) -> list[Trial]:
    from rearank_evals.runs.trials import trials

    return [
        trial
        for collection, first_stage in collection_options.collections(names)
        for trial in trials(folder, collection, first_stage, systems, shuffles)
    ]


def _run(planned: Sequence[Trial], at_once: int | None) -> tuple[list[ReportEntry], bool]:
    """Run all trials; the entries of the report, and whether a ranking is partial."""
    from rearank_agent.reranker import run_sync
    from rearank_evals.cli.output import RunProgress, progress_bars
    from rearank_evals.runs.run import run

    partial = False
    with progress_bars() as bars:
        for trial in planned:
            progress = RunProgress(trial, bars)
            default = trial.system.reranker.at_once
            try:
                notes = run_sync(run(trial, at_once or default, progress))
            except KeyboardInterrupt:
                progress.interrupted()
                raise
            progress.finish(notes)
            partial |= progress.partial > 0
    return [trial.entry for trial in planned if not trial.shuffle], partial


def _report(
    folder: Path,
    entries: Sequence[ReportEntry],
    wanted: Sequence[Any],
    baseline: str,
    as_json: bool,
) -> None:
    from rearank_evals.cli.output import print_report
    from rearank_evals.evaluate import evaluate
    from rearank_evals.report.write import write_report

    with progress_bar("statistics and report"):
        report, details = evaluate(folder, entries, wanted, baseline, _command())
        write_report(folder, report, details)
    if as_json:
        print_json(report)
    else:
        print_report(report, details)
    print_note(f"report: {folder / 'report.html'}")


@app.command()
def compare(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="DIR...", help="Folders that eval made.", show_default=False),
    ],
    baseline: Baseline = FIRST,
    measure: Measures = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The folder of the new report.  \\[runs/compared-HASH]", show_default=False
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Put the systems of several evaluations side by side.

    A system that is in several of them gets its folder after its name.

        rearank-agent eval compare runs/a runs/b --baseline embedded
    """
    _require_packages()
    from rearank_evals.measures.official import DEFAULT, measures
    from rearank_evals.runs.trials import merge_entries

    out = out or _default_folder("compared", str(folders))
    if any(out.resolve() == folder.resolve() for folder in folders):
        raise InputError(f"{out} is one of the compared folders; give another --out")
    _report(out, merge_entries(folders), measures(measure or DEFAULT), baseline, as_json)


@app.command()
def verify(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that eval made.")],
) -> None:
    """Recompute all values from the saved runs, and check every file's hash."""
    _require_packages()
    from rearank_evals.verify import verify as verify_report

    failures = 0
    for check in verify_report(folder):
        print_line(f"{'ok ' if check.ok else 'BAD'}  {check.message}", flush=True)
        failures += not check.ok
    if failures:
        raise typer.Exit(1)


def _require_packages() -> None:
    """Raise SetupError if a package of the extra `eval` is missing."""
    require("eval", "eval", "ir_measures", "scipy", "matplotlib")


def _command() -> str:
    """The command line, with secrets redacted."""
    return shlex.join(["rearank-agent", *map(redact, sys.argv[1:])])


def _default_folder(name: str, options: str) -> Path:
    """A folder named after what is run, so that the same command resumes in it."""
    short = Path(name).resolve().name or "eval"
    return Path("runs") / f"{short}-{sha256(options.encode()).hexdigest()[:8]}"
