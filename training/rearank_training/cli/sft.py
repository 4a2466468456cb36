"""`train sft`: a language model that imitates another policy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rearank_agent.cli.options import with_options
from rearank_agent.errors import InputError
from rearank_training.cli.lm_options import (
    Dev,
    Device,
    Model,
    Out,
    Processes,
    Recipe,
    Resume,
)
from rearank_training.cli.lm_setup import (
    begin,
    demonstrations,
    interruptible,
    read_dev,
    report,
    require_extra,
    rows_hash,
    watch,
    wrote_launcher,
)
from rearank_training.lm.settings import PromptOptions, SFTSettings

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command(no_args_is_help=True)
@with_options
def sft(
    model: Model,
    rows: Annotated[
        Path | None,
        typer.Argument(help="The folder that train rows wrote.", show_default=False),
    ] = None,
    *,
    dev: Dev,
    out: Out,
    teacher: Annotated[
        str, typer.Option(help="Whose orders of the rows are learned: embedded, lexical.")
    ] = "embedded",
    records: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Learn what a run of eval said, instead: a records.jsonl; repeatable.",
            show_default=False,
        ),
    ] = None,
    quotes: Annotated[
        bool, typer.Option("--quotes/--no-quotes", help="Whether thoughts quote the evidence.")
    ] = True,
    recipe: Recipe = "",  # noqa: ARG001 - its callback has put it in place of the defaults
    resume: Resume = False,
    device: Device = "auto",
    processes: Processes = 1,
    words: PromptOptions,
    settings: SFTSettings,
) -> None:
    """A cold start: imitate another policy, until held-out replies get no likelier.

    Thought and order are those that --teacher has for the rows, or those of
    a run that eval kept, of any model. The best on dev is in DIR/policy:

        rearank-agent train sft MODEL runs/rows --dev D --out runs/sft

        rearank-agent train sft MODEL --records FILE --dev D --out runs/sft
    """
    if (rows is None) == (not records):
        raise InputError("give rows, or --records of a run of eval")
    require_extra()
    if wrote_launcher(processes, device, out):
        return
    taught = {"rows": rows_hash(rows), "records": records, "dev": dev}
    taught |= {"teacher": teacher, "quotes": str(quotes)}
    start = begin("sft", (model, words, device), settings, (out, resume), taught)
    from rearank_training.lm.sft import sft as imitate

    some = demonstrations(start, rows, records or [], teacher, quotes)
    held = read_dev(dev, start, [lesson.shown.query for lesson in some])
    start.claim()
    with interruptible(out):
        best = imitate(
            start.loaded, some, held, settings, out, start.checkpoint, watch(settings.steps)
        )
    report(best, out)
