"""A bump chart: one line per passage, from the order that was given to the final one.

x is in thousandths of the plot's width, y in pixels: so the plot takes any width, and labels
beside it stay at their ranks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from rearank_agent.present.replay import Replay, Stage
from rearank_agent.types import Window

__all__ = ["TOP", "WIDTH", "BumpChart", "bump_chart"]

TOP = 10
"""Ranks drawn at full height; those below share the remaining room."""

WIDTH = 1000

_ROW = 24.0  # pixels
_BELOW = 260.0  # pixels for all ranks below the top
_MIN_GAP_Y = 17.0  # pixels between two labels
_MIN_GAP_X = 50.0
_LABELLED_RANKS = (1, 5, TOP, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000)


@dataclass(frozen=True, slots=True)
class Line:
    """The line of a passage: its final rank, its rank as given, and an SVG path."""

    rank: int
    was: int
    path: str


@dataclass(frozen=True, slots=True)
class Band:
    """Neighbouring ranks that were in a window of a turn, as a rectangle."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Label:
    """A label beside the plot, and its x in thousandths or y in pixels."""

    text: str
    at: float


@dataclass(frozen=True, slots=True)
class BumpChart:
    """The chart.

    Attributes:
        height: in pixels.
        columns: the x of each order.
        lines: by final rank, the best first.
        bands: the ranks in the windows of a turn, where those are not all ranks.
        ranks: labels beside the plot.
        turns: labels above it.
        starts, rows: the y of the passages of the final top: as given, and final.
        uneven: whether turns that did not change the top are narrower than the others.
        squeezed: whether the ranks below the top are drawn closer together.
    """

    height: float
    columns: tuple[float, ...]
    lines: tuple[Line, ...]
    bands: tuple[Band, ...]
    ranks: tuple[Label, ...]
    turns: tuple[Label, ...]
    starts: tuple[float, ...]
    rows: tuple[float, ...]
    uneven: bool
    squeezed: bool


def bump_chart(replay: Replay) -> BumpChart:
    """The chart of a ranking's orders, of n passages each."""
    stages = replay.stages
    final = stages[-1].order
    n = len(final)
    ranks = [_ranks(stage.order) for stage in stages]
    xs = _columns([tuple(of[position] for position in final[:TOP]) for of in ranks])
    widths = [after - x for x, after in pairwise(xs)]
    lines = (
        Line(rank, position + 1, _path(xs, [_y(of[position], n) for of in ranks]))
        for rank, position in enumerate(final, 1)
    )
    return BumpChart(
        height=_y(n, n) + _ROW / 2,
        columns=tuple(xs),
        lines=tuple(lines),
        bands=tuple(_bands(stages, xs)),
        ranks=tuple(_rank_labels(n)),
        turns=tuple(_turn_labels(stages, xs, "mix" if replay.mixed else "…"))[::-1],
        starts=tuple(_y(position + 1, n) for position in final[:TOP]),
        rows=tuple(_y(rank, n) for rank in range(1, min(n, TOP) + 1)),
        uneven=max(widths) - min(widths) > 1,
        squeezed=n > TOP and _step(n) < _ROW,
    )


def _ranks(order: Window) -> dict[int, int]:
    return {position: rank for rank, position in enumerate(order, 1)}


def _columns(tops: Sequence[Window]) -> list[float]:
    """The x of each order; turns that do not change the top have a third of the width."""
    unchanged = [before == after for before, after in pairwise(tops)]
    n, quiet = len(unchanged), sum(unchanged)
    even = WIDTH / n
    narrow = min(even, WIDTH / 3 / quiet) if 0 < quiet < n else even
    wide = (WIDTH - quiet * narrow) / (n - quiet) if quiet < n else even
    widths = (narrow if same else wide for same in unchanged)
    return [round(x, 1) for x in accumulate(widths, initial=0.0)]


def _y(rank: int, n: int) -> float:
    """The y of a rank."""
    if rank <= TOP:
        return _ROW * (rank - 0.5)
    return round(_ROW * (TOP - 0.5) + (rank - TOP) * _step(n), 1)


def _step(n: int) -> float:
    """Pixels between two ranks below the top."""
    return min(_ROW, _BELOW / max(1, n - TOP))


def _path(xs: Sequence[float], ys: Sequence[float]) -> str:
    """A horizontal line where a passage keeps its rank, else a curve from rank to rank."""
    drawn = [f"M{xs[0]:g},{ys[0]:g}"]
    level = False
    for (x, y), (after, to) in pairwise(zip(xs, ys, strict=True)):
        if y == to:
            level = True
            continue
        if level:
            drawn.append(f"H{x:g}")
        middle = round((x + after) / 2, 1)
        drawn.append(f"C{middle:g},{y:g} {middle:g},{to:g} {after:g},{to:g}")
        level = False
    return "".join([*drawn, f"H{xs[-1]:g}" if level else ""])


def _bands(stages: Sequence[Stage], xs: Sequence[float]) -> Iterator[Band]:
    n = len(stages[0].order)
    for number, (before, stage) in enumerate(pairwise(stages)):
        if len(stage.reranked) == n:
            continue
        shown = [rank for rank, at in enumerate(before.order, 1) if at in stage.reranked]
        for first, last in _runs(shown):
            top, end = _y(first, n), _y(last, n)
            half = _ROW / 2 if last <= TOP else _step(n) / 2
            top -= _ROW / 2 if first <= TOP else _step(n) / 2
            x = xs[number]
            yield Band(x, round(top, 1), round(xs[number + 1] - x, 1), round(end + half - top, 1))


def _runs(ranks: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The first and last of every run of consecutive ranks."""
    starts = [rank for before, rank in pairwise([-1, *ranks]) if rank != before + 1]
    ends = [rank for rank, after in pairwise([*ranks, -1]) if after != rank + 1]
    return zip(starts, ends, strict=True)


def _rank_labels(n: int) -> Iterator[Label]:
    """Labels of ranks: as many as have room, always with the last one."""
    last = _y(n, n)
    at = -_MIN_GAP_Y
    for rank in _LABELLED_RANKS:
        y = _y(rank, n)
        if rank < n and y - at >= _MIN_GAP_Y and last - y >= _MIN_GAP_Y:
            yield Label(f"{rank:,}", y)
            at = y
    yield Label(f"{n:,}", last)


def _turn_labels(stages: Sequence[Stage], xs: Sequence[float], other: str) -> Iterator[Label]:
    """The numbers of the turns, each above its column, where there is room; the last one first."""
    at = math.inf
    for number in range(len(stages) - 1, 0, -1):
        turn = stages[number].turn
        middle = round((xs[number - 1] + xs[number]) / 2, 1)
        if at - middle >= _MIN_GAP_X:
            yield Label(other if turn is None else str(turn), middle)
            at = middle
