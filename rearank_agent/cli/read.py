"""`read`: the text where a search found something."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rearank_agent.cli.console import print_line, print_note

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command()
def read(
    place: Annotated[
        str,
        typer.Argument(help="path:lines as search gives it, a path, or a hit's rank with --run."),
    ],
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Folders or files that may be read.  \\[the current folder]", show_default=False
        ),
    ] = None,
    run: Annotated[
        str,
        typer.Option(
            help="The run id in an agent's answer, or a file of --json: tells whether the file "
            "has changed since.",
            show_default=False,
        ),
    ] = "",
    around: Annotated[int, typer.Option(min=0, help="Lines on each side.")] = 20,
) -> None:
    """Read what a search found, with the lines around it.

    Prints what the tool `read` tells an agent, without its limit; each line behind its number.
    A PDF (by pages, as `paper.pdf:p7`) or Office file is shown as it is searched.

        rearank-agent read docs/faults.md:12-30 --around 5
    """
    from rearank_agent.cli.explain import load_ranking
    from rearank_agent.present.explanation import find_passage
    from rearank_agent.present.reading import read_answer
    from rearank_agent.search.library import Library
    from rearank_agent.search.read import locate

    hit = find_passage(load_ranking(run), place).passage if run else None
    reading = locate(Library(paths or [Path()], by_meaning=False), place, hit)
    answer = read_answer(reading, around, 1, None)
    for line in answer.text.split("\n"):
        print_line(line)
    print_note(answer.where)
    for note in answer.notes:
        print_note(f"note: {note}")
