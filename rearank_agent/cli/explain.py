"""`explain`: why an earlier ranking has the order it has."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rearank_agent.cli.console import print_line
from rearank_agent.cli.options import Html
from rearank_agent.errors import InputError

if TYPE_CHECKING:
    from rearank_agent.types import Ranking

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command()
def explain(
    run: Annotated[
        str,
        typer.Argument(help="The run id in an agent's answer, or a file of --json; - for stdin."),
    ],
    passage: Annotated[
        str,
        typer.Argument(
            help="Its id, place or rank.  \\[the whole run]",
            show_default=False,
        ),
    ] = "",
    html: Html = None,
) -> None:
    """Explain why an earlier ranking has the order it has.

    Prints what the tool `explain` tells an agent; or writes it all as an HTML page.

        rearank-agent rerank 'how long do fleas live' fleas.txt --json > run.json

        rearank-agent explain run.json --html why.html
    """
    from rearank_agent.cli.output import write_page
    from rearank_agent.present.explanation import explain_text

    ranking = load_ranking(run)
    if html is None:
        for line in explain_text(ranking, passage).split("\n"):
            print_line(line)
    elif passage:
        raise InputError("the page shows the whole run: leave out PASSAGE, or --html")
    else:
        write_page(ranking, html)


def load_ranking(run: str) -> Ranking:
    """The ranking in a file, or the stored one of a run.

    Args:
        run: its id; a file of --json, or - for stdin.

    Raises:
        InputError: there is none, or it is no whole ranking.
    """
    from rearank_agent.store import run_store
    from rearank_agent.text import shorten
    from rearank_agent.types import Ranking

    file = Path(run)
    try:
        if run == "-":
            text: str | bytes | None = sys.stdin.buffer.read()
        else:
            text = file.read_bytes() if file.is_file() else run_store().get(run)
    except OSError as error:
        raise InputError(f"{run} cannot be read: {error.strerror}") from None
    if text is None:
        raise InputError(
            f"no run {run!r:.60} is stored (any more), and there is no such file; "
            "keep your own runs with --json"
        )
    try:
        ranking = Ranking.from_json(text)
        _check_consistency(ranking)
    except InputError as error:
        raise InputError(f"{run}: {shorten(str(error), 200)}") from None
    return ranking


def _check_consistency(ranking: Ranking) -> None:
    """Raise InputError where ranks or windows contradict the passages, as after an edit by hand."""
    places = set(range(len(ranking.passages)))
    ranks = [ranked.rank for ranked in ranking.passages]
    valid = ranks == [place + 1 for place in sorted(places)] and places == {
        ranked.was - 1 for ranked in ranking.passages
    }
    for step in ranking.steps:
        valid &= places.issuperset(step.window) and len(set(step.window)) == len(step.window)
        valid &= sorted(step.reply.order) == list(range(len(step.window)))
        valid &= step.reply.scores is None or len(step.reply.scores) == len(step.window)
    if not valid:
        raise InputError("not a complete ranking: its ranks or windows do not fit its passages")
