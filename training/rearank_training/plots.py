"""The curves of a run of training, as PNG files beside its log."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from matplotlib.figure import Figure

from rearank_agent.errors import SetupError
from rearank_training.log import LOG

__all__ = ["plot", "plot_lm"]

_MEAN = 25
"""Steps of a running mean."""
_LEARNED = (("warm", "loss"), ("reward", "reward"), ("reward", "kl"))


_LEARNED_LM = (
    "loss", "accuracy", "held_out", "reward", "kl", "tokens", "equal",
)  # fmt: skip
"""Of a language model: what its phase has of these is drawn."""


def plot_lm(run: Path) -> list[Path]:
    """The same as `plot` of a language model: with faults, length of replies and parts of rewards.

    Raises:
        SetupError: they cannot be written.
    """
    lines = _read(run)
    names = {name for line in lines for name in line}
    parts = sorted(name for name in names if name.startswith(("part/", "fault/")))
    there = [name for name in _LEARNED_LM if name in names]
    phase = lines[0]["phase"]
    return _write(run, lines, [(phase, name) for name in (*there, *parts)])


def plot(run: Path) -> list[Path]:
    """Draw dev nDCG@10 and what was learned from, over the steps; gives the files.

    Raises:
        SetupError: they cannot be written.
    """
    return _write(run, _read(run), _LEARNED)


def _read(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / LOG).read_text(encoding="utf-8").splitlines()]


def _write(
    run: Path, lines: list[dict[str, Any]], learned: Sequence[tuple[str, str]]
) -> list[Path]:
    warm = max((line["step"] for line in lines if line["phase"] == "warm"), default=0)
    for line in lines:
        line["at"] = line["step"] + (warm if line["phase"] == "reward" else 0)
    figures = {"dev.png": _dev(lines, warm), "learning.png": _learning(lines, learned)}
    try:
        for name, figure in figures.items():
            figure.savefig(run / name, dpi=120, metadata={"Software": None})
    except OSError as error:
        raise SetupError(f"{run} cannot be written: {error.strerror or error}") from None
    return [run / name for name in figures]


def _dev(lines: Sequence[dict[str, Any]], warm: int) -> Figure:
    looks = [line for line in lines if "macro" in line]
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    for name in looks[0]["dev"]:
        gained = [100 * (look["dev"][name] - looks[0]["dev"][name]) for look in looks]
        axes.plot([look["at"] for look in looks], gained, lw=0.9, alpha=0.7, label=name)
    mean = [100 * (look["macro"] - looks[0]["macro"]) for look in looks]
    axes.plot([look["at"] for look in looks], mean, "k-o", lw=2, ms=4, label="mean of collections")
    axes.axhline(0, color="#888888", lw=0.8)
    _phases(axes, warm)
    axes.set(xlabel="step", ylabel="dev nDCG@10 x100, gained since the start")
    axes.legend(fontsize=7, ncols=2, frameon=False)
    return figure


def _learning(lines: Sequence[dict[str, Any]], learned: Sequence[tuple[str, str]]) -> Figure:
    figure = Figure(figsize=(7, 1.7 * len(learned)), layout="constrained")
    panels = figure.subplots(len(learned), 1, squeeze=False)[:, 0]
    for axes, (phase, name) in zip(panels, learned, strict=True):
        points = [
            (line["at"], line[name]) for line in lines if line["phase"] == phase and name in line
        ]
        steps, values = [at for at, _ in points], [value for _, value in points]
        axes.plot(steps, values, color="#bbbbbb", lw=0.6)
        axes.plot(steps, _running(values), color="#0072b2", lw=1.6)
        axes.set_ylabel(f"{name} ({phase})", fontsize=8)
    axes.set(xlabel="step")
    return figure


def _running(values: Sequence[float]) -> list[float]:
    return [fmean(values[max(0, end - _MEAN) : end]) for end in range(1, len(values) + 1)]


def _phases(axes: Any, warm: int) -> None:
    if warm:
        axes.axvline(warm, color="#888888", lw=0.8, ls="--")
        axes.text(warm, axes.get_ylim()[0], " reinforcement", fontsize=7, va="bottom")
