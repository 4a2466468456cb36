"""`train show`: read a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rearank_agent.cli.console import console, print_note, styled

if TYPE_CHECKING:
    from rearank_training.run_report import RunReport

app = typer.Typer(add_completion=False, rich_markup_mode="rich")

_MAX_LINES = 5  # of steps, and of evaluations


@app.command(no_args_is_help=True)
def show(
    run: Annotated[Path, typer.Argument(help="The run's folder.", show_default=False)],
    html: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write an HTML page instead, with the replies of all evaluations.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Show how a run goes: its last steps and evaluations, and replies to read.

    The replies are the best, the worst and a random one of the last
    evaluation on dev and, in reinforcement, of the rollouts since the one
    before. A run may still be going on:

        rearank-agent train show runs/grpo

        rearank-agent train show runs/grpo --html grpo.html
    """
    from rearank_training.run_report import read_run

    report = read_run(run)
    if html is None:
        _print(report)
        return
    from rearank_agent.files import write_text
    from rearank_training.run_page import run_page

    write_text(html, run_page(report))
    print_note(f"the page is in {html}")


def _print(report: RunReport) -> None:
    from rearank_training.run_report import describe

    out, best = console(), report.best
    out.print(styled((report.title, "bold")))
    for line in [one for one in report.lines if "macro" not in one][-_MAX_LINES:]:
        out.print(describe(line))
    for line in report.evaluations[-_MAX_LINES:]:
        out.print(describe(line))
    if best:
        out.print(styled((f"kept: {describe(best)}", "bold")))
    if report.alarms:
        out.print(styled((f"alarms: {', '.join(report.alarms)}", "bold red")))
    for one in report.replies_of(report.replies[-1]["step"]) if report.replies else ():
        _print_reply(one)


def _print_reply(one: dict[str, Any]) -> None:
    """Print a reply with its reward; its lines are indented, so that none passes for another."""
    from rich.padding import Padding

    out = console()
    parts = ", ".join(f"{name} {value:.3f}" for name, value in one["parts"].items())
    out.print()
    out.print(
        styled((f"step {one['step']}, {one['kind']} of {one['of']}: {one['reward']:.3f}", "bold"))
    )
    facts = [(f"{parts}; grades as shown: {' '.join(f'{g:g}' for g in one['grades'])}", "dim")]
    facts += [(one["prompt"], "dim"), (f"query: {one['query']}", "")]
    out.print(Padding(styled(*facts), (0, 0, 0, 2)))
    lines = [(line, "") for line in one["reply"].split("\n")]
    shown = styled(*lines) if one["reply"].strip() else styled(("an empty reply", "dim"))
    out.print(Padding(shown, (0, 0, 0, 4)))
