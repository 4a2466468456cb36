"""`train rows`: draw the training rows."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rearank_agent.cli.console import console, print_json, print_note, progress_bar, styled
from rearank_agent.cli.list_options import ListOptions
from rearank_agent.cli.options import with_options
from rearank_training.cli.inputs import with_lists

if TYPE_CHECKING:
    from rearank_agent.data.collection import Collection


@dataclass(frozen=True)
class DrawOptions:
    """How many sets are drawn, and how large they are."""

    sets: Annotated[int, typer.Option(min=1, help="Random sets per query.")] = 50
    size: Annotated[int, typer.Option(min=2, help="Passages per set.")] = 20
    depth: Annotated[
        int, typer.Option(min=1, help="Candidates of a query that sets are drawn from.")
    ] = 100
    limit: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="QUERIES",
            help="Size of a random sample of the judged queries.  \\[all]",
            show_default=False,
        ),
    ] = None
    seed: Annotated[int, typer.Option(help="Of the sets and the sample of queries.")] = 0


app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command(no_args_is_help=True)
@with_options
def rows(
    collection: Annotated[
        list[str],
        typer.Argument(
            help="A folder in BEIR's form, a BRIGHT folder, or an ir_datasets id.",
            show_default=False,
        ),
    ],
    *,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the rows.")],
    dev: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLLECTION",
            help="Held-out collection, whose queries are left out; repeatable.",
            show_default=False,
        ),
    ] = None,
    lists: ListOptions,
    drawing: DrawOptions,
    as_json: Annotated[bool, typer.Option("--json", help="Print manifest.json to stdout.")] = False,
) -> None:
    """Draw training rows: small sets of passages from judged queries' lists.

    Sets without a training signal are dropped, and counted by reason.
    Candidates are those of a TREC run, the collection's own, else BM25's, as
    in eval. The same command gives the same bytes:

        rearank-agent train rows examples/harbour --out runs/rows

        rearank-agent train rows A B --dev C --limit 179 --out runs/rows
    """
    from rearank_training.rows.augment import Augmentation, augment
    from rearank_training.rows.rows import write_rows

    settings = Augmentation(**asdict(drawing))
    found, held = _collections(collection, dev or [], lists.queries)
    found = with_lists(found, drawing.depth, lists.first_stage or [])
    with progress_bar("drawing sets") as watch:
        drawn = augment(found, settings, held, watch)
    with progress_bar(f"writing {out}"):
        manifest = write_rows(out, drawn)
    if as_json:
        print_json(manifest)
    else:
        _show(manifest["collections"])
    if not held:
        print_note("note: no --dev was given, so nothing is held out")
    print_note(f"rows written to {out}")


def _collections(
    names: list[str], dev: list[str], queries: Path | None
) -> tuple[list[Collection], list[Collection]]:
    """The training collections, of these queries alone, and the held-out ones."""
    from rearank_agent.data.load import load_collections, read_query_ids, select_queries

    with progress_bar("reading the collections"):
        found, held = load_collections(names), load_collections(dev)
    if queries:
        wanted = read_query_ids(queries)
        found = [select_queries(one, None, wanted) for one in found]
    return found, held


def _show(facts: dict[str, Any]) -> None:
    """Print a table of the collections' rows, and what was left out."""
    from rich.table import Table

    from rearank_training.rows.augment import dropped_lines

    shown = console()
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("collection", overflow="fold")
    columns = {"queries": "chosen", "sets": "sets", "rows": "rows", "already best": "best_already"}
    for title in columns:
        table.add_column(title, justify="right")
    counts = {name: [one[key] for key in columns.values()] for name, one in facts.items()}
    for name, row in counts.items():
        table.add_row(name, *(f"{count:,}" for count in row))
    if len(counts) > 1:
        sums = [sum(column) for column in zip(*counts.values(), strict=True)]
        table.add_row(styled(("all", "bold")), *(f"{count:,}" for count in sums))
    shown.print(table)
    for line in dropped_lines(facts):
        shown.print(styled((line, "dim")))
