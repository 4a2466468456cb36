"""Progress of language-model training: lines of evaluations and steps, and alarms."""

from __future__ import annotations

import sys
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from rearank_agent.cli import console

if TYPE_CHECKING:
    from rearank_training.lm.callbacks import Watch

__all__ = ["note", "progress_watch"]


def note(text: str) -> None:
    """Print a note, once for all processes."""
    from rearank_training.lm.processes import is_first_process

    if is_first_process():
        console.print_note(f"note: {text}")


def progress_watch(steps: int, out: Path) -> Watch:
    """Progress lines, of steps in a terminal alone; with every evaluation the curves are drawn.

    An alarm is printed once, and again when it has been quiet in between.
    """
    from rearank_training.lm.alarms import alarms_of
    from rearank_training.plots import plot_lm

    began = monotonic()
    ringing: dict[bool, set[str]] = {}

    def watch(line: dict[str, Any]) -> None:
        on_dev = "macro" in line
        if on_dev or "loss" in line:
            alarms, before = alarms_of(line), ringing.get(on_dev, set())
            for kind in [kind for kind in alarms if kind not in before]:
                note(f"{'dev, ' * on_dev}step {line['step']}: {alarms[kind]}")
            ringing[on_dev] = set(alarms)
        terminal, text = sys.stderr.isatty(), f"{line['phase']} {line['step']}/{steps}: "
        if "macro" in line:
            text += (
                f"dev nDCG@10 {100 * line['macro']:.2f}, {line['mended']:.0%} of replies repaired"
            )
            plot_lm(out)
        elif "evaluated" in line:
            return
        elif "loss" not in line:
            text += f"evaluating on dev, {line['queries']} queries ..."
        elif terminal or line["step"] % 50 == 0:
            reward = f", reward {line['reward']:.3f}" if "reward" in line else ""
            text += f"loss {line['loss']:.3f}{reward}, {monotonic() - began:.0f} s"
        else:
            return
        console.progress_line(text, keep="macro" in line)

    return watch
