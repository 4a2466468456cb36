"""`train grpo`: reinforce a language model."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from rearank_agent.cli.options import with_options
from rearank_training.cli.dry_run import run_or_try
from rearank_training.cli.launcher import wrote_launcher
from rearank_training.cli.lm_checks import Inputs
from rearank_training.cli.lm_options import (
    Dev,
    Device,
    DryRun,
    Model,
    Out,
    Processes,
    Recipe,
    Resume,
    Rows,
)
from rearank_training.cli.lm_setup import (
    examples_with_signal,
    fitting_ones,
    read_dev,
    require_extra,
    rows_hash,
    set_up,
)
from rearank_training.lm.settings import GRPOSettings, PromptOptions

if TYPE_CHECKING:
    from rearank_training.lm.callbacks import Watch

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command(no_args_is_help=True)
@with_options
def grpo(
    model: Model,
    rows: Rows,
    *,
    dev: Dev,
    out: Out,
    recipe: Recipe = "",  # noqa: ARG001 - its callback sets the defaults
    resume: Resume = False,
    device: Device = "auto",
    processes: Processes = 1,
    dry_run: DryRun = False,
    prompt_options: PromptOptions,
    settings: GRPOSettings,
) -> None:
    """Reinforce a language model with rewards for its orders, as REARANK does.

    Replies to a prompt are sampled and their rewards compared. The best on
    dev is in DIR/policy, to serve; every step is a line in log.jsonl:

        rearank-agent train grpo MODEL runs/rows --dev D --out runs/one

        rearank-agent serve runs/one/policy --name mine

    Several GPUs: --processes 8 writes runs/one/launch.sh, which starts them.
    """
    require_extra()
    check = partial(Inputs(rows, dev).check, model, prompt_options, settings, processes)
    if wrote_launcher(processes, device, out, check):
        return
    asked = model, prompt_options, device
    run_or_try(partial(_reinforce, asked, rows, dev), settings, (out, resume), dry_run)


def _reinforce(
    asked: tuple[str, PromptOptions, str],
    rows: Path,
    dev: list[str],
    settings: GRPOSettings,
    out: Path,
    resume: bool,
    watch: Watch,
) -> dict[str, Any]:
    data = {"rows": rows_hash(rows), "dev": dev}
    setup = set_up("grpo", asked, settings, (out, resume), data)
    from rearank_training.lm.grpo import grpo as reinforce

    examples = fitting_ones(setup, examples_with_signal(setup, rows))
    held = read_dev(dev, setup, [one.query for one in examples])
    setup.write_run_file()
    return reinforce(setup.loaded, examples, held, settings, out, setup.checkpoint, watch)
