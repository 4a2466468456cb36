"""`train sft`: fine-tune a language model to imitate another policy."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rearank_agent.cli.options import with_options
from rearank_agent.errors import InputError
from rearank_training.cli.dry_run import run_or_try
from rearank_training.cli.launcher import wrote_launcher
from rearank_training.cli.lm_checks import Inputs, check_teacher
from rearank_training.cli.lm_options import (
    Dev,
    Device,
    DryRun,
    Model,
    Out,
    Processes,
    Recipe,
    Resume,
)
from rearank_training.cli.lm_setup import (
    read_demonstrations,
    read_dev,
    require_extra,
    rows_hash,
    set_up,
)
from rearank_training.lm.settings import PromptOptions, SFTSettings

if TYPE_CHECKING:
    from rearank_training.lm.callbacks import Watch

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
    dry_run: DryRun = False,
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
    check = partial(
        Inputs(rows, dev, records or []).check, model, prompt_options, settings, processes
    )
    if wrote_launcher(processes, device, out, check):
        return
    asked, taught = (model, prompt_options, device), (rows, records or [], teacher, quotes)
    run_or_try(partial(_imitate, asked, taught, dev), settings, (out, resume), dry_run)


def _imitate(
    asked: tuple[str, PromptOptions, str],
    taught: tuple[Path | None, list[Path], str, bool],
    dev: list[str],
    settings: SFTSettings,
    out: Path,
    resume: bool,
    watch: Watch,
) -> dict[str, Any]:
    rows, records, teacher, quotes = taught
    data = {"rows": rows_hash(rows), "records": records or None, "dev": dev}
    data |= {"teacher": teacher, "quotes": str(quotes)}
    setup = set_up("sft", asked, settings, (out, resume), data)
    from rearank_training.lm.sft import sft as imitate

    found = read_demonstrations(setup, *taught)
    held = read_dev(dev, setup, [one.example.query for one in found])
    setup.write_run_file()
    return imitate(setup.loaded, found, held, settings, out, setup.checkpoint, watch)
