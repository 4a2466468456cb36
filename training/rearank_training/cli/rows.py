"""`train rows`: draw the training rows."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rearank_agent.cli.console import console, print_json, print_note, progress_bar, styled
from rearank_agent.cli.list_options import ListOptions
from rearank_agent.cli.options import with_options
from rearank_agent.errors import InputError
from rearank_training.cli.inputs import with_lists

if TYPE_CHECKING:
    from rearank_agent.data.collection import Collection
    from rearank_training.rows.rows import Rows


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
    shuffled: Annotated[
        bool,
        typer.Option("--shuffled", help="Show a set in random order.  \\[the first stage's]"),
    ] = False


@dataclass(frozen=True)
class JudgedOptions:
    """Whose queries are held out, and the grades of published rows."""

    dev: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLLECTION",
            help="Held-out collection, whose queries are left out; repeatable.",
            show_default=False,
        ),
    ] = None
    qrels: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The grades of published rows (JSON or Parquet with query and hits, as "
            "rearank_12k), as TREC's judgements.",
            show_default=False,
        ),
    ] = None


app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command(no_args_is_help=True)
@with_options
def rows(
    collection: Annotated[
        list[str],
        typer.Argument(
            help="A folder in BEIR's form, a BRIGHT folder, or an ir_datasets id; with --qrels "
            "a file of published rows.",
            show_default=False,
        ),
    ],
    *,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the rows.")],
    judged: JudgedOptions,
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

    Rows that were published have no grades, and keep their sets:

        rearank-agent train rows train.parquet --qrels qrels.txt --out runs/rows
    """
    from rearank_training.rows.rows import write_rows

    held = _read(judged.dev or [])
    if judged.qrels:
        _refuse_drawing(drawing, lists)
        drawn = _published(collection, judged.qrels, held)
    else:
        drawn = _drawn(collection, held, lists, drawing)
    with progress_bar(f"writing {out}"):
        manifest = write_rows(out, drawn)
    if as_json:
        print_json(manifest)
    else:
        _show(manifest["collections"])
    if not held:
        print_note("note: no --dev was given, so nothing is held out")
    print_note(f"rows written to {out}")


def _read(names: list[str]) -> list[Collection]:
    from rearank_agent.data.load import load_collections

    with progress_bar("reading the collections"):
        return load_collections(names)


def _drawn(
    names: list[str], held: list[Collection], lists: ListOptions, drawing: DrawOptions
) -> Rows:
    """Sets drawn from collections."""
    from rearank_agent.data.load import read_query_ids, select_queries
    from rearank_training.rows.augment import Augmentation, augment

    settings = Augmentation(**asdict(drawing))
    found = _read(names)
    if lists.queries:
        wanted = read_query_ids(lists.queries)
        found = [select_queries(one, None, wanted) for one in found]
    found = with_lists(found, drawing.depth, lists.first_stage or [])
    with progress_bar("drawing sets") as watch:
        return augment(found, settings, held, watch)


def _published(names: list[str], qrels: Path, held: list[Collection]) -> Rows:
    """The sets of a file of published rows."""
    from rearank_training.rows.augment import augment
    from rearank_training.rows.published import read_published

    if len(names) > 1:
        raise InputError("--qrels goes with one file of published rows")
    with progress_bar("reading the rows"):
        found = read_published(Path(names[0]), qrels)
    if found.differing:
        print_note(f"note: {found.differing:,} rows have another NDCG@10 than by {qrels}")
    return augment([found.collection], found.settings, held, draw=found.draw)


def _refuse_drawing(drawing: DrawOptions, lists: ListOptions) -> None:
    """Raise InputError for options of drawing sets: published rows are sets already."""
    options = vars(DrawOptions()) | vars(ListOptions())
    given = vars(drawing) | vars(lists)
    if set_ := [name for name, value in given.items() if value != options[name]]:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in set_)
        raise InputError(f"published rows are sets already: leave out {names}")


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
