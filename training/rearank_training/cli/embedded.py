"""`train embedded`: train the upper layers of the embedded policy on rows, or on a teacher."""

from __future__ import annotations

import sys
from collections import deque
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rearank_agent.cli.console import print_json, print_note, progress_bar, progress_line
from rearank_agent.cli.options import with_options
from rearank_agent.errors import InputError
from rearank_agent.extras import require
from rearank_training.cli.inputs import with_lists
from rearank_training.cli.lessons import TeacherOptions, read_lessons
from rearank_training.embedded.settings import EmbeddedSettings
from rearank_training.embedded.teacher import TEACHER
from rearank_training.log import LOG

if TYPE_CHECKING:
    from rearank_training.embedded.dev import Dev as HeldOut
    from rearank_training.embedded.lessons import LessonSampler
    from rearank_training.embedded.trainer import Trainer, Watch


Rows = Annotated[
    Path | None, typer.Argument(help="The folder that train rows wrote.", show_default=False)
]
Dev = Annotated[
    list[str],
    typer.Option(metavar="COLLECTION", help="Collection to choose the best on; repeatable."),
]
Base = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Checkpoint that the lower layers come from.  \\[the packaged MiniLM]",
        show_default=False,
    ),
]
Start = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="The best.pt of a run, to start from its upper layers.  \\[the base's]",
        show_default=False,
    ),
]

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command(no_args_is_help=True)
@with_options
def embedded(
    rows: Rows = None,
    *,
    dev: Dev,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the run.")],
    teacher: TeacherOptions,
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume from the last checkpoint in --out.")
    ] = False,
    base: Base = None,
    start: Start = None,
    recipe: EmbeddedSettings,
) -> None:
    """Train the embedded policy: a supervised start, then reinforcement.

    The strongest way is a --teacher (cross-encoder:MODEL, a language model) on
    queries of your own corpus, which need no judgements:

        rearank-agent train embedded --teacher T --unjudged MY --dev D --out R

    Without a teacher the supervised start learns the grades of rows, and so
    does reinforcement:

        rearank-agent train embedded runs/rows --dev D --out runs/one

    The lower layers are frozen, the upper ones are trained. Every step and
    every evaluation on dev is a line in log.jsonl; a stopped run goes on with
    --resume. The best on dev is exported to DIR/top:

        rearank-agent rerank QUERY FILE --policy embedded:runs/one/top
    """
    teacher.check(rows)
    recipe = _fitting(recipe, rows, teacher)
    if any((out / name).is_file() for name in (LOG, TEACHER)) and not resume:
        raise InputError(f"{out} holds a run: go on with --resume, or choose another --out")
    trainer = _trainer(rows, teacher, dev, out, (base, start), recipe)
    if resume:
        _resume(trainer)
    try:
        trainer.run(_watch(recipe))
    except KeyboardInterrupt:
        print_note(f"stopped at step {trainer.step}; resume with --resume")
        raise
    print_json(_finished(trainer, rows)["dev"])
    print_note(f"rank with --policy embedded:{out / 'top'}; curves are in {out}")


def _fitting(
    recipe: EmbeddedSettings, rows: Path | None, teacher: TeacherOptions
) -> EmbeddedSettings:
    """The recipe, without reinforcement where there are no rows."""
    if teacher.teacher and not recipe.warm_steps:
        raise InputError("a teacher teaches the supervised start: give --warm-steps above 0")
    if rows is None and recipe.steps:
        print_note("note: there are no rows, so there is no reinforcement")
        return replace(recipe, steps=0)
    return recipe


def _resume(trainer: Trainer) -> None:
    """Go on from the last checkpoint; where only the teacher was asked so far, from the start."""
    from rearank_training.embedded.trainer import LAST

    if (trainer.out / LAST).is_file() or not trainer.teacher:
        trainer.resume()
    else:
        (trainer.out / LOG).unlink(missing_ok=True)
    print_note(f"resuming at step {trainer.step} ({trainer.phase})")


def _finished(trainer: Trainer, rows: Path | None) -> dict[str, Any]:
    from rearank_agent.policies.embedded.policy import WEIGHTS
    from rearank_training.embedded.finish import finish
    from rearank_training.plots import plot

    with progress_bar("choosing the blend and exporting"):
        plot(trainer.out)
        return finish(trainer, rows, WEIGHTS)


def _trainer(
    rows: Path | None,
    teacher: TeacherOptions,
    dev: list[str],
    out: Path,
    weights: tuple[Path | None, Path | None],
    recipe: EmbeddedSettings,
) -> Trainer:
    require("training", "train", "torch", "transformers", "onnx")
    from rearank_agent.policies.embedded.encoder import Encoder
    from rearank_agent.policies.embedded.policy import WEIGHTS
    from rearank_training.embedded.checkpoints import fill, load
    from rearank_training.embedded.export import FROZEN, packaged
    from rearank_training.embedded.towers import Towers
    from rearank_training.embedded.trainer import Trainer
    from rearank_training.embedded.trunk import Trunk
    from rearank_training.embedded.windows import WindowSampler, in_first_stage_order
    from rearank_training.rows.rows import read_rows, with_signal

    base, start = weights
    with progress_bar("reading the rows"):
        shown, passages = read_rows(rows) if rows else ((), {})
        judged = in_first_stage_order(shown)
    trunk = Trunk(Encoder(WEIGHTS, WEIGHTS / "untrained"), recipe.threads)
    towers = Towers(base or packaged(), FROZEN, recipe.share)
    if start:
        fill(towers, load(start).get("towers"), start)
    useful = with_signal(judged)
    if recipe.steps and not useful:
        raise InputError(f"{rows} has no signal: every set is in its best order already")
    reward = WindowSampler(useful, passages, recipe.seed) if useful else None
    held, in_dev = _held(dev, recipe, [row.query.text for row in judged])
    warm: WindowSampler | LessonSampler
    if teacher.teacher:
        warm = read_lessons(teacher, (judged, passages), in_dev, out, recipe.seed)
    else:
        warm = WindowSampler(judged, passages, recipe.seed)
    return Trainer(recipe, warm, reward, held, trunk, towers, out)


def _held(
    names: list[str], recipe: EmbeddedSettings, trained_on: list[str]
) -> tuple[HeldOut, frozenset[str]]:
    """The queries that the best is chosen on, and all of dev, normalized."""
    from rearank_agent.data.load import load_collections
    from rearank_training.embedded.dev import Dev as HeldOut
    from rearank_training.rows.overlap import normalized_query

    with progress_bar("reading the dev collections"):
        found = load_collections(names)
    listed = with_lists(found, 100)
    dev = HeldOut(listed, recipe.dev_queries, seed=recipe.seed, trained_on=trained_on)
    if dev.dropped:
        note = f"{dev.dropped} dev queries are in the rows too, and left out of dev"
        print_note(f"note: {note}")
    texts = (text for one in found for text in one.queries.values())
    return dev, frozenset(map(normalized_query, texts))


def _watch(recipe: EmbeddedSettings) -> Watch:
    """Progress lines: every evaluation on dev; in a terminal also the last step."""
    steps = {"warm": recipe.warm_steps, "reward": recipe.steps}
    rewards: deque[float] = deque(maxlen=50)
    began = monotonic()

    def watch(line: dict[str, Any]) -> None:
        phase, step = line["phase"], line["step"]
        if "reward" in line:
            rewards.append(line["reward"])
        terminal, text = sys.stderr.isatty(), f"{phase} {step}/{steps[phase]}: "
        if "macro" in line:
            text += f"dev nDCG@10 {100 * line['macro']:.2f}"
        elif "loss" not in line:
            text += f"evaluating on dev, {line['queries']} queries ..."
        elif terminal or step % 50 == 0:
            mean = f", reward {fmean(rewards):.3f}" if rewards else ""
            text += f"loss {line['loss']:.3f}{mean}, {monotonic() - began:.0f} s"
        else:
            return
        progress_line(text, keep="macro" in line)

    return watch
