"""A run as it is asked for, or a dry one: one step of everything, and what a whole run takes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import ceil
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from rearank_agent.cli.console import console, print_line, print_note
from rearank_agent.errors import InputError
from rearank_training.cli.lm_progress import progress_watch
from rearank_training.cli.lm_setup import interruptible, report
from rearank_training.lm.settings import GRPOSettings, SFTSettings

if TYPE_CHECKING:
    from rearank_training.lm.callbacks import Watch

__all__ = ["Stopwatch", "estimate", "run_or_try"]

_QUERIES = 2  # of each dev collection
_S = TypeVar("_S", SFTSettings, GRPOSettings)
Settings: TypeAlias = SFTSettings | GRPOSettings


def run_or_try(
    job: Callable[[_S, Path, bool, Watch], dict[str, Any]],
    settings: _S,
    run_options: tuple[Path, bool],
    dry_run: bool,
) -> None:
    """Run a job and print its best evaluation, or run one step of it and print what that took.

    Args:
        job: gets settings, the folder of the run, whether it is resumed, and who watches; gives
            the best evaluation.
        run_options: the folder, and whether it is resumed.

    Raises:
        InputError: a dry run is to be resumed.
    """
    out, resume = run_options
    if not dry_run:
        with interruptible(out):
            best = job(settings, out, resume, progress_watch(settings.steps, out))
        report(best, out)
        return
    if resume:
        raise InputError("a dry run begins anew: leave out --resume, or --dry-run")
    from rearank_training.lm.processes import is_first_process

    folder = out.with_name(f"{out.name}.dry-run")  # beside it, since that disk has to hold it
    short: _S = replace(
        settings, steps=1, every=1, patience=0, evaluate_first=True, report_to="none",
        dev_queries=min(_QUERIES, settings.dev_queries),
    )  # fmt: skip
    try:
        if is_first_process():
            shutil.rmtree(folder, ignore_errors=True)  # of one that was killed
        stopwatch = Stopwatch(progress_watch(1, folder))
        job(short, folder, False, stopwatch)
        stopwatch.stop()
        if is_first_process():
            _print(stopwatch, settings, short, _size(folder))
    finally:
        if is_first_process():
            shutil.rmtree(folder, ignore_errors=True)


@dataclass
class Stopwatch:
    """Who watches a run, and the seconds its parts took; of a part done twice, the longer.

    Attributes:
        took: start (model and rows), dev (replies), after (held-out loss, writing the policy),
            step and checkpoint, in seconds.
    """

    watch: Watch
    clock: Callable[[], float] = monotonic
    took: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._since = self.clock()

    def __call__(self, line: dict[str, Any]) -> None:
        """Hand a line on; the part that it ends is over then."""
        self.watch(line)
        ends = {"loss": "step", "macro": "after", "evaluated": "dev", "queries": "start"}
        self._end(next(part for name, part in ends.items() if name in line))

    def stop(self) -> None:
        """The last checkpoint is written."""
        self._end("checkpoint")

    def _end(self, part: str) -> None:
        now = self.clock()
        self.took[part] = max(self.took.get(part, 0), now - self._since)
        self._since = now


def estimate(
    took: dict[str, float], settings: Settings, queries: int
) -> dict[str, tuple[float, int]]:
    """The seconds of each part of a whole run, and how often it comes, at most.

    Args:
        took: the seconds of the parts of a dry run.
        settings: of the whole run.
        queries: of each dev collection in the dry run; the time of an evaluation is in proportion.
    """
    looks = ceil(settings.steps / settings.every)
    dev = took["dev"] * settings.dev_queries / queries
    return {
        "model and rows": (took["start"], 1),
        "a step": (took["step"], settings.steps),
        "an evaluation on dev": (dev + took["after"], looks + settings.evaluate_first),
        "a checkpoint": (took["checkpoint"], looks),
    }


def _print(stopwatch: Stopwatch, settings: Settings, short: Settings, disk: float) -> None:
    from rich.table import Table

    from rearank_training.lm.memory import peak_memory

    parts = estimate(stopwatch.took, settings, short.dev_queries)
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("")
    for title in ("seconds", "times"):
        table.add_column(title, justify="right")
    for name, (seconds, times) in parts.items():
        table.add_row(name, f"{seconds:.1f}", f"{times:,}")
    console().print(table)
    whole = sum(seconds * times for seconds, times in parts.values())
    print_line(f"the whole run: {_words(whole)} at most, if later steps are as long as the first")
    for name, peak in peak_memory().items():
        print_line(f"{name}: {peak:.2f} GB at the peak")
    print_line(f"disk: {disk / 1e9:.2f} GB")
    print_note(
        f"note: evaluations were of {short.dev_queries} queries of each collection, and are "
        f"counted for {settings.dev_queries}; nothing is kept"
    )


def _words(seconds: float) -> str:
    for unit, size in (("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} seconds"


def _size(folder: Path) -> float:
    """The bytes of a run with one checkpoint; a whole one keeps two."""
    folders = [folder, *folder.glob("checkpoint-*")]
    files = (path for one in folders for path in one.rglob("*") if path.is_file())
    return float(sum(path.stat().st_size for path in files))
