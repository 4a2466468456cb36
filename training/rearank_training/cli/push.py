"""`train push`: upload a trained model to a hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rearank_agent.cli.console import print_line, print_note, progress_bar

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command(no_args_is_help=True)
def push(
    run: Annotated[
        Path, typer.Argument(help="The run's folder; its policy/ is uploaded.", show_default=False)
    ],
    repository: Annotated[str, typer.Argument(help="OWNER/NAME on the hub.", show_default=False)],
    *,
    public: Annotated[
        bool, typer.Option("--public", help="Let everyone see it; else it is private.")
    ] = False,
) -> None:
    """Upload a trained model to a hub, with a card made from its run.

    The card names base model, licence, recipe, rows, dev figures and what was
    not measured. It is README.md in DIR/policy; one that is there already is
    uploaded as it is:

        rearank-agent train push runs/grpo OWNER/NAME
    """
    from rearank_training import push as hub
    from rearank_training.run_report import read_run

    report, policy = read_run(run), run / "policy"
    with progress_bar(f"uploading {policy}"):
        address, new = hub.push(report, policy, repository, public)
    print_line(address)
    made = "was made" if new else "was there already, and is as it was"
    print_note(f"note: the card {policy / 'README.md'} {made}; read it before others do")
