"""`train nano`, `train sft`, `train grpo`: language models, from rows."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from rearank_agent.cli.options import with_options
from rearank_agent.errors import InputError
from rearank_training.cli.lm_run import (
    begin,
    better_rows,
    dev_of,
    fitting,
    interruptible,
    launched,
    lessons,
    ready,
    report,
    rows_hash,
    shown_rows,
    watch,
)
from rearank_training.cli.rows import group
from rearank_training.lm.settings import Grpo, Sft, Words, named

_READ = 3000
"""Rows whose words the tokenizer of a nano model is made of."""


def _recipe(context: typer.Context, name: str) -> str:
    """Let a recipe give what is not said otherwise."""
    if name:
        context.default_map = named(name, str(context.info_name))
    return name


Recipe = Annotated[
    str,
    typer.Option(
        callback=_recipe,
        is_eager=True,
        metavar="NAME",
        help="Settings by name: nano, rearank-7b, or a FILE.toml; options win over it.",
        show_default=False,
    ),
]
Model = Annotated[
    str, typer.Argument(help="A folder, or the name of a repository.", show_default=False)
]
Rows = Annotated[Path, typer.Argument(help="The folder that train rows wrote.", show_default=False)]
Dev_ = Annotated[
    list[str], typer.Option("--dev", metavar="COLLECTION", help="What is chosen by; repeatable.")
]
Out = Annotated[Path, typer.Option(metavar="DIR", help="Where the run goes.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in --out.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Processes = Annotated[
    int,
    typer.Option(
        min=1,
        help="More than one: write what starts them (accelerate.yaml, launch.sh), and end.",
    ),
]


@group.command(no_args_is_help=True)
def nano(
    rows: Rows,
    *,
    out: Annotated[Path, typer.Option(metavar="DIR", help="The model's folder.")],
    size: Annotated[
        int, typer.Option(min=32, max=512, help="Of a hidden state, a multiple of 32.")
    ] = 96,
    layers: Annotated[int, typer.Option(min=1, max=12)] = 3,
    vocabulary: Annotated[int, typer.Option(min=512, max=16384, help="Tokens.")] = 1024,
    seed: Annotated[int, typer.Option(help="Of the weights.")] = 0,
) -> None:
    """Make a language model from nothing: small enough to train on a laptop.

    A Qwen2 with random weights, a tokenizer of the rows' words, and words of
    its own to be asked with. It shows that all that trains and serves large
    models works; it is no model to use.

        rearank-agent train nano runs/rows --out runs/nano
    """
    ready()
    from rearank_agent.policies.registry import policy
    from rearank_training.lm.demonstrations import of_policy
    from rearank_training.lm.model import quiet
    from rearank_training.lm.nano import make

    if size % 32:
        raise InputError(f"the size must be a multiple of 32, not {size}")
    quiet(1)
    some = shown_rows(rows)
    some = some[:: max(1, len(some) // _READ)]
    count = make(out, of_policy(some, policy("lexical"), False), size, layers, vocabulary, seed)
    print(f"{count:,} parameters in {out}; it knows nothing yet", file=sys.stderr)


@group.command(no_args_is_help=True)
@with_options
def sft(
    model: Model,
    rows: Annotated[
        Path | None,
        typer.Argument(help="The folder that train rows wrote.", show_default=False),
    ] = None,
    *,
    dev: Dev_,
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
    words: Words,
    settings: Sft,
) -> None:
    """A cold start: imitate another policy, until held-out replies get no likelier.

    Thought and order are those that --teacher has for the rows, or those of
    a run that eval kept, of any model. The best on dev is in DIR/policy:

        rearank-agent train sft MODEL runs/rows --dev D --out runs/sft

        rearank-agent train sft MODEL --records FILE --dev D --out runs/sft
    """
    if (rows is None) == (not records):
        raise InputError("give rows, or --records of a run of eval")
    ready()
    if launched(processes, device, out):
        return
    taught = {"rows": rows_hash(rows), "records": records, "dev": dev}
    taught |= {"teacher": teacher, "quotes": str(quotes)}
    start = begin("sft", (model, words, device), settings, (out, resume), taught)
    from rearank_training.lm.sft import sft as imitate

    some = lessons(start, rows, records or [], teacher, quotes)
    held = dev_of(dev, start, [lesson.shown.query for lesson in some])
    start.claim()
    with interruptible(out):
        best = imitate(
            start.loaded, some, held, settings, out, start.checkpoint, watch(settings.steps)
        )
    report(best, out)


@group.command(no_args_is_help=True)
@with_options
def grpo(
    model: Model,
    rows: Rows,
    *,
    dev: Dev_,
    out: Out,
    recipe: Recipe = "",  # noqa: ARG001 - its callback has put it in place of the defaults
    resume: Resume = False,
    device: Device = "auto",
    processes: Processes = 1,
    words: Words,
    settings: Grpo,
) -> None:
    """Reinforce a language model on what its orders are worth, as REARANK does.

    Replies to a prompt are sampled and compared. The best on dev is in
    DIR/policy, to be served; every step is a line in log.jsonl:

        rearank-agent train grpo MODEL runs/rows --dev D --out runs/one

        rearank-agent serve runs/one/policy --name mine

    Several GPUs: --processes 8 writes runs/one/launch.sh, which starts them.
    """
    ready()
    if launched(processes, device, out):
        return
    taught = {"rows": rows_hash(rows), "dev": dev}
    start = begin("grpo", (model, words, device), settings, (out, resume), taught)
    from rearank_training.lm.grpo import grpo as reinforce

    some = fitting(start, better_rows(start, rows))
    held = dev_of(dev, start, [one.query for one in some])
    start.claim()
    with interruptible(out):
        best = reinforce(
            start.loaded, some, held, settings, out, start.checkpoint, watch(settings.steps)
        )
    report(best, out)
