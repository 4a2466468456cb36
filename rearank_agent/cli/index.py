"""`index`: the vectors of all passages, made before they are searched."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rearank_agent.cli.console import print_line, progress_bar
from rearank_agent.errors import SetupError

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command()
def index(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(help="Folders or files.  \\[the current folder]", show_default=False),
    ] = None,
) -> None:
    """Make the vectors of all passages, so that search finds by meaning.

    Nobody has to: search finds by words at once, and keeps the vectors of
    what it ranks; the MCP server makes the others in the background. Here
    all are made at once, each passage once, in whichever file it stands.
    Ctrl-C loses nothing.

        rearank-agent index docs src
    """
    from rearank_agent.cli.output import print_faults
    from rearank_agent.search.fill import fill
    from rearank_agent.search.library import Library

    library = Library(paths or [Path()])
    assert library.vectors is not None  # noqa: S101
    with progress_bar("reading files") as show:
        found, missing, left_out = library.without_vectors(show)
    with progress_bar("making vectors") as show:
        if faults := fill(library.vectors.passages, found, missing, show):
            raise SetupError(faults[0].detail)
    print_faults(left_out)
    there = len(found.lines) - len(missing)
    print_line(
        f"{len(found.lines):,} passages of {len(found.files):,} files: "
        f"{len(missing):,} vectors made, {there:,} were there"
    )
