"""The options of queries and first-stage lists, for commands that read collections."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["ListOptions"]


@dataclass(frozen=True)
class ListOptions:
    """Which queries are used, and whose lists are their candidates."""

    queries: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Only the queries with these ids, one a line.",
            show_default=False,
        ),
    ] = None
    first_stage: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="A TREC run with the candidates, one for each collection, in their order.  "
            "\\[the collection's own, else BM25]",
            show_default=False,
        ),
    ] = None
