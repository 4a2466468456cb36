"""`train embedded`: the upper layers of the embedded policy, from rows."""

from __future__ import annotations

import json
import sys
from collections import deque
from pathlib import Path
from statistics import fmean
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rearank_agent.cli.options import with_options
from rearank_agent.errors import InputError, require
from rearank_training.cli.inputs import with_lists
from rearank_training.embedded.settings import EmbeddedSettings

if TYPE_CHECKING:
    from rearank_training.embedded.dev import Dev
    from rearank_training.embedded.trainer import Trainer, Watch


Start = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="The best.pt of a run, whose upper layers this one begins with.  \\[the base's]",
        show_default=False,
    ),
]

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command(no_args_is_help=True)
@with_options
def embedded(
    rows: Annotated[Path, typer.Argument(help="The folder that train rows wrote.")],
    *,
    dev: Annotated[
        list[str],
        typer.Option(metavar="COLLECTION", help="What is chosen by; repeatable."),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the run goes.")],
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint in --out.")
    ] = False,
    base: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="The checkpoint the lower layers are of.  \\[the packaged MiniLM]",
            show_default=False,
        ),
    ] = None,
    start: Start = None,
    recipe: EmbeddedSettings,
) -> None:
    """Train the embedded policy: a supervised start, then reinforcement.

    The lower layers stay as they ship, the upper ones learn. Every step and
    every look at dev is a line in log.jsonl; a run that was stopped goes on
    with --resume. The best on dev is exported to DIR/top:

        rearank-agent train embedded runs/rows --dev D --out runs/one

        rearank-agent rerank QUERY FILE --policy embedded:runs/one/top
    """
    if (out / "log.jsonl").is_file() and not resume:
        raise InputError(f"{out} holds a run: go on with --resume, or choose another --out")
    trainer = _trainer(rows, dev, out, (base, start), recipe)
    if resume:
        trainer.resume()
        print(f"going on at step {trainer.step} ({trainer.phase})", file=sys.stderr)
    try:
        trainer.run(_watch(recipe))
    except KeyboardInterrupt:
        print(f"\nstopped at step {trainer.step}; the same with --resume goes on", file=sys.stderr)
        raise
    print(json.dumps(_finished(trainer, rows)["dev"]))
    print(f"rank with --policy embedded:{out / 'top'}; curves are in {out}", file=sys.stderr)


def _finished(trainer: Trainer, rows: Path) -> dict[str, Any]:
    from rearank_agent.cli.output import progress_bar
    from rearank_agent.policies.embedded.policy import WEIGHTS
    from rearank_training.embedded.finish import finish
    from rearank_training.plots import plot

    with progress_bar("choosing the blend, and exporting"):
        plot(trainer.out)
        return finish(trainer, rows, WEIGHTS)


def _trainer(
    rows: Path,
    dev: list[str],
    out: Path,
    begin: tuple[Path | None, Path | None],
    recipe: EmbeddedSettings,
) -> Trainer:
    base, start = begin
    require("training", "train", "torch", "transformers", "onnx")
    from rearank_agent.cli.output import progress_bar
    from rearank_agent.policies.embedded.encoder import Encoder
    from rearank_agent.policies.embedded.policy import WEIGHTS
    from rearank_training.embedded.checkpoints import fill, load
    from rearank_training.embedded.export import FROZEN, packaged
    from rearank_training.embedded.towers import Towers
    from rearank_training.embedded.trainer import Trainer
    from rearank_training.embedded.trunk import Trunk
    from rearank_training.embedded.windows import WindowSampler
    from rearank_training.rows.rows import read_rows, with_signal

    with progress_bar("reading the rows"):
        all_rows, passages = read_rows(rows)
    trunk = Trunk(Encoder(WEIGHTS, WEIGHTS / "untrained"), recipe.threads)
    towers = Towers(base or packaged(), FROZEN, recipe.share)
    if start:
        fill(towers, load(start).get("towers"), start)
    hopeful = with_signal(all_rows)
    if recipe.steps and not hopeful:
        raise InputError(f"{rows} has no signal: every set is in its best order already")
    warm = WindowSampler(all_rows, passages, recipe.seed)
    reward = WindowSampler(hopeful, passages, recipe.seed) if hopeful else warm
    judged = _dev(dev, recipe, [row.query.text for row in all_rows])
    return Trainer(recipe, warm, reward, judged, trunk, towers, out)


def _dev(names: list[str], recipe: EmbeddedSettings, learned: list[str]) -> Dev:
    from rearank_agent.cli.output import progress_bar
    from rearank_agent.data.load import load_collections
    from rearank_training.embedded.dev import Dev

    with progress_bar("reading the dev collections"):
        found = load_collections(names)
    dev = Dev(with_lists(found, 100), recipe.dev_queries, seed=recipe.seed, learned=learned)
    if dev.dropped:
        told = f"{dev.dropped} dev queries are in the rows too, and left out of dev"
        print(f"note: {told}", file=sys.stderr)
    return dev


def _watch(recipe: EmbeddedSettings) -> Watch:
    """A line for every look at dev; between them the last step, where there is a terminal."""
    from rearank_agent.cli.output import progress_line

    steps = {"warm": recipe.warm_steps, "reward": recipe.steps}
    worth: deque[float] = deque(maxlen=50)
    began = monotonic()

    def watch(line: dict[str, Any]) -> None:
        phase, step = line["phase"], line["step"]
        if "reward" in line:
            worth.append(line["reward"])
        terminal, told = sys.stderr.isatty(), f"{phase} {step}/{steps[phase]}: "
        if "macro" in line:
            told += f"dev nDCG@10 {100 * line['macro']:.2f}"
        elif "loss" not in line:
            told += f"measuring dev, {line['queries']} queries ..."
        elif terminal or step % 50 == 0:
            mean = f", reward {fmean(worth):.3f}" if worth else ""
            told += f"loss {line['loss']:.3f}{mean}, {monotonic() - began:.0f} s"
        else:
            return
        progress_line(told, lasting="macro" in line)

    return watch
