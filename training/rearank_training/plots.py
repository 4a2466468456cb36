"""The curves of a training run, as PNG files beside its log."""

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
_CURVES = (("warm", "loss"), ("reward", "reward"), ("reward", "greedy"), ("reward", "kl"))
"""Phase and log field of each panel of the embedded policy."""
_CURVES_LM = (
    "loss", "accuracy", "held_out", "reward", "kl", "tokens", "equal",
)  # fmt: skip
"""Log fields of a language model; those that its phase logs are drawn."""


def plot_lm(run: Path) -> list[Path]:
    """Draw a language model's run: as `plot`, with faults, reply length and parts of rewards.

    Raises:
        SetupError: the files cannot be written.
    """
    lines = _read(run)
    names = {name for line in lines for name in line}
    parts = sorted(name for name in names if name.startswith(("part/", "fault/")))
    curves = [name for name in _CURVES_LM if name in names]
    phase = lines[0]["phase"]
    return _write(run, lines, [(phase, name) for name in (*curves, *parts)])


def plot(run: Path) -> list[Path]:
    """Draw dev nDCG@10, loss, reward and KL over the steps; gives the files.

    Raises:
        SetupError: the files cannot be written.
    """
    return _write(run, _read(run), _CURVES)


def _read(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / LOG).read_text(encoding="utf-8").splitlines()]


def _write(run: Path, lines: list[dict[str, Any]], curves: Sequence[tuple[str, str]]) -> list[Path]:
    warm = max((line["step"] for line in lines if line["phase"] == "warm"), default=0)
    for line in lines:
        line["at"] = line["step"] + (warm if line["phase"] == "reward" else 0)
    figures = {"dev.png": _dev(lines, warm)}
    if curves:  # there is none before the first step
        figures["learning.png"] = _learning(lines, curves)
    try:
        for name, figure in figures.items():
            figure.savefig(run / name, dpi=120, metadata={"Software": None})
    except OSError as error:
        raise SetupError(f"{run} cannot be written: {error.strerror or error}") from None
    return [run / name for name in figures]


def _dev(lines: Sequence[dict[str, Any]], warm: int) -> Figure:
    evaluations = [line for line in lines if "macro" in line]
    start = evaluations[0]
    steps = [line["at"] for line in evaluations]
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    for name in start["dev"]:
        gain = [100 * (line["dev"][name] - start["dev"][name]) for line in evaluations]
        axes.plot(steps, gain, lw=0.9, alpha=0.7, label=name)
    mean = [100 * (line["macro"] - start["macro"]) for line in evaluations]
    axes.plot(steps, mean, "k-o", lw=2, ms=4, label="mean of collections")
    axes.axhline(0, color="#888888", lw=0.8)
    _phases(axes, warm)
    axes.set(xlabel="step", ylabel="dev nDCG@10 x100, gain over the start")
    axes.legend(fontsize=7, ncols=2, frameon=False)
    return figure


def _learning(lines: Sequence[dict[str, Any]], curves: Sequence[tuple[str, str]]) -> Figure:
    figure = Figure(figsize=(7, 1.7 * len(curves)), layout="constrained")
    panels = figure.subplots(len(curves), 1, squeeze=False)[:, 0]
    for axes, (phase, name) in zip(panels, curves, strict=True):
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
