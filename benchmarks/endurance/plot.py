"""The plot of an endurance run."""

from pathlib import Path

from matplotlib import rcParams
from matplotlib.figure import Figure

from benchmarks.endurance.clients import Door
from benchmarks.endurance.watch import Sample

__all__ = ["plot"]

SHOWN = 150
"""Answers of a door that are drawn at most, evenly chosen: each is an element of the file."""
LABELS = {"memory": "memory, MB", "handles": "handles", "threads": "threads", "store": "store, MB"}


def plot(
    path: Path, doors: list[Door], samples: dict[str, list[Sample]], kills: list[float]
) -> None:
    """Write an SVG: answers, seconds of each, and what the processes hold, over minutes."""
    rcParams["svg.hashsalt"] = "rearank-agent"
    figure = Figure(figsize=(9, 11), layout="constrained")
    panels = figure.subplots(6, 1, sharex=True)
    for door in doors:
        at = [answer.at / 60 for answer in door.answers]
        panels[0].plot(at, range(1, len(at) + 1), label=door.name, linewidth=1)
        shown = door.answers[:: -(-len(door.answers) // SHOWN) or 1]
        seconds = [answer.seconds for answer in shown]
        panels[1].plot([answer.at / 60 for answer in shown], seconds, ".", markersize=2)
    panels[0].set_ylabel("answers")
    panels[0].legend(fontsize=7, frameon=False, ncols=2)
    panels[1].set_ylabel("seconds of some")
    panels[1].set_yscale("log")
    for panel, (field, label) in zip(panels[2:], LABELS.items(), strict=True):
        for name, of in samples.items():
            minutes = [sample.at / 60 for sample in of]
            panel.plot(minutes, [getattr(sample, field) for sample in of], label=name, linewidth=1)
        panel.set_ylabel(label)
        panel.set_ylim(bottom=0)
    panels[2].legend(fontsize=7, frameon=False, ncols=3)
    for panel in panels:
        for at in kills:
            panel.axvline(at / 60, color="0.8", linewidth=0.7, zorder=0)
    panels[-1].set_xlabel("minutes; grey lines: vLLM was killed")
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
