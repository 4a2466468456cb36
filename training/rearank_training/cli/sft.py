"""`train sft`: fine-tune a language model to imitate another policy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rearank_agent.cli.options import with_options
from rearank_agent.errors import InputError
from rearank_training.cli.launcher import wrote_launcher
from rearank_training.cli.lm_checks import Inputs, check_teacher
from rearank_training.cli.lm_options import (
    Dev,
    Device,
    Model,
    Out,
    Processes,
    Recipe,
    Resume,
)
from rearank_training.cli.lm_progress import progress_watch
from rearank_training.cli.lm_setup import (
    interruptible,
    read_demonstrations,
    read_dev,
    report,
    require_extra,
    rows_hash,
    set_up,
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
        str,
        typer.Option(help="Whose orders are imitated: embedded, lexical, ..., or judgements."),
    ] = "embedded",
    records: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Imitate the replies in records.jsonl of eval, or in lines of rerank --json; "
            "repeatable.",
            show_default=False,
        ),
    ] = None,
    quotes: Annotated[
        bool, typer.Option("--quotes/--no-quotes", help="Whether the reasoning quotes evidence.")
    ] = True,
    recipe: Recipe = "",  # noqa: ARG001 - its callback sets the defaults
    resume: Resume = False,
    device: Device = "auto",
    processes: Processes = 1,
    prompt_options: PromptOptions,
    settings: SFTSettings,
) -> None:
    """Fine-tune a language model to imitate another policy's replies.

    Reasoning and order are those of --teacher for the rows, or of any model
    in a run of eval. Training ends when the loss on held-out replies stops
    falling; the best model is in DIR/policy:

        rearank-agent train sft MODEL runs/rows --dev D --out runs/sft

        rearank-agent train sft MODEL --records FILE --dev D --out runs/sft
    """
    if (rows is None) == (not records):
        raise InputError("give either rows, or --records of a run of eval")
    require_extra()
    if rows:
        check_teacher(model, teacher)
    inputs = Inputs(rows, dev, records or [])

    def check(where: str) -> None:
        inputs.check(model, prompt_options, settings, where, processes)

    if wrote_launcher(processes, device, out, check):
        return
    data = {"rows": rows_hash(rows), "records": records, "dev": dev}
    data |= {"teacher": teacher, "quotes": str(quotes)}
    setup = set_up("sft", (model, prompt_options, device), settings, (out, resume), data)
    from rearank_training.lm.sft import sft as imitate

    found = read_demonstrations(setup, rows, records or [], teacher, quotes)
    held = read_dev(dev, setup, [one.example.query for one in found])
    setup.write_run_file()
    watch = progress_watch(settings.steps, out)
    with interruptible(out):
        best = imitate(setup.loaded, found, held, settings, out, setup.checkpoint, watch)
    report(best, out)
