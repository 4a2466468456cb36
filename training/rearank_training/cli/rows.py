"""`train rows`: what policies learn from."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rearank_agent.cli.options import with_options
from rearank_training.cli.inputs import with_lists

if TYPE_CHECKING:
    from rearank_agent.data.collection import Collection


@dataclass(frozen=True)
class DrawOptions:
    """How many sets are drawn, and how large."""

    sets: Annotated[int, typer.Option(min=1, help="Random sets of a query.")] = 50
    size: Annotated[int, typer.Option(min=1, help="Passages in a set.")] = 20
    depth: Annotated[
        int, typer.Option(min=1, help="How much of a first-stage list is drawn from.")
    ] = 100
    limit: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="QUERIES",
            help="A random sample of so many judged queries.  \\[all]",
            show_default=False,
        ),
    ] = None
    seed: Annotated[int, typer.Option(help="Of the sets, and of the sample of queries.")] = 0


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
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the rows go.")],
    dev: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLLECTION",
            help="Held out: queries with the words of one there are left out; repeatable.",
            show_default=False,
        ),
    ] = None,
    drawing: DrawOptions,
    as_json: Annotated[bool, typer.Option("--json", help="Give manifest.json on stdout.")] = False,
) -> None:
    """Draw small sets of passages from judged queries' lists, to train on.

    Sets that teach nothing are dropped, and counted by why. Candidates are
    the collection's own, else BM25's, as in eval. The same command gives
    the same bytes:

        rearank-agent train rows examples/harbour --out runs/rows

        rearank-agent train rows A B --dev C --limit 179 --out runs/rows
    """
    from rearank_agent.cli.output import progress_bar
    from rearank_training.rows.augment import Augmentation, augment
    from rearank_training.rows.rows import write_rows

    how = Augmentation(**asdict(drawing))
    found, held = _collections(collection, dev or [], drawing.depth)
    with progress_bar("drawing sets") as watch:
        made = augment(found, how, held, watch)
    with progress_bar(f"writing {out}"):
        manifest = write_rows(out, made)
    if as_json:
        print(json.dumps(manifest, ensure_ascii=False))
    else:
        _show(manifest["collections"])
    if not held:
        print("note: no --dev was given, so nothing is held out", file=sys.stderr)
    print(f"all is in {out}", file=sys.stderr)


def _collections(
    names: list[str], dev: list[str], depth: int
) -> tuple[list[Collection], list[Collection]]:
    """What is trained on, each with a first stage, and what is held out."""
    from rearank_agent.cli.output import progress_bar
    from rearank_agent.data.load import load_collections

    with progress_bar("reading the collections"):
        found, held = load_collections(names), load_collections(dev)
    return with_lists(found, depth), held


def _show(about: dict[str, Any]) -> None:
    """Print how much every collection gives, and what was left out."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from rearank_training.rows.augment import left_out

    console = Console(highlight=False)
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("collection", overflow="fold")
    columns = {"queries": "chosen", "sets": "sets", "rows": "rows", "already best": "best_already"}
    for title in columns:
        table.add_column(title, justify="right")
    counts = {name: [one[key] for key in columns.values()] for name, one in about.items()}
    for name, row in counts.items():
        table.add_row(name, *(f"{count:,}" for count in row))
    if len(counts) > 1:
        sums = [sum(column) for column in zip(*counts.values(), strict=True)]
        table.add_row(Text("all", "bold"), *(f"{count:,}" for count in sums))
    console.print(table)
    for line in left_out(about):
        console.print(Text(line, "dim"))
