"""`train grpo`: a language model, reinforced."""

from __future__ import annotations

import typer

from rearank_agent.cli.options import with_options
from rearank_training.cli.lm_options import (
    Dev,
    Device,
    Model,
    Out,
    Processes,
    Recipe,
    Resume,
    Rows,
)
from rearank_training.cli.lm_setup import (
    begin,
    examples_with_signal,
    fitting_ones,
    interruptible,
    read_dev,
    report,
    require_extra,
    rows_hash,
    watch,
    wrote_launcher,
)
from rearank_training.lm.settings import GRPOSettings, PromptOptions

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command(no_args_is_help=True)
@with_options
def grpo(
    model: Model,
    rows: Rows,
    *,
    dev: Dev,
    out: Out,
    recipe: Recipe = "",  # noqa: ARG001 - its callback has put it in place of the defaults
    resume: Resume = False,
    device: Device = "auto",
    processes: Processes = 1,
    words: PromptOptions,
    settings: GRPOSettings,
) -> None:
    """Reinforce a language model on what its orders are worth, as REARANK does.

    Replies to a prompt are sampled and compared. The best on dev is in
    DIR/policy, to be served; every step is a line in log.jsonl:

        rearank-agent train grpo MODEL runs/rows --dev D --out runs/one

        rearank-agent serve runs/one/policy --name mine

    Several GPUs: --processes 8 writes runs/one/launch.sh, which starts them.
    """
    require_extra()
    if wrote_launcher(processes, device, out):
        return
    taught = {"rows": rows_hash(rows), "dev": dev}
    start = begin("grpo", (model, words, device), settings, (out, resume), taught)
    from rearank_training.lm.grpo import grpo as reinforce

    some = fitting_ones(start, examples_with_signal(start, rows))
    held = read_dev(dev, start, [one.query for one in some])
    start.claim()
    with interruptible(out):
        best = reinforce(
            start.loaded, some, held, settings, out, start.checkpoint, watch(settings.steps)
        )
    report(best, out)
