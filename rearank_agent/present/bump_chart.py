"""A bump chart: one line a passage, from the order that was given to the final one.

Positions across are in thousandths of the plot's width, those down in pixels: so the plot takes
any width, and what is written beside it stays at its rank.
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
"""Ranks that stand apart from each other; all below share what room there is."""

WIDTH = 1000

_ROW = 24.0
_BELOW = 260.0
_APART = 17.0  # pixels between two numbers, so that both can be read
_APART_ACROSS = 50.0
_ROUND = (1, 5, TOP, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000)


@dataclass(frozen=True, slots=True)
class Line:
    """The way of a passage: its final rank, its rank as given, and an SVG path."""

    rank: int
    was: int
    path: str


@dataclass(frozen=True, slots=True)
class Band:
    """Neighbouring ranks that were judged in a turn, as a rectangle."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Label:
    """Something written beside the plot, and where: thousandths across or pixels down."""

    text: str
    at: float


@dataclass(frozen=True, slots=True)
class BumpChart:
    """The chart.

    Attributes:
        height: in pixels.
        columns: where the orders stand, across.
        lines: by final rank, the best first.
        bands: what was judged, where that is not everything.
        ranks: numbers beside the plot.
        turns: numbers above it.
        starts, rows: where the passages of the top stand, down: as given, and in the end.
        uneven: whether turns that left the top as it was are narrower than the others.
        squeezed: whether the ranks below the top stand closer together than those of the top.
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
    xs = _across([tuple(of[position] for position in final[:TOP]) for of in ranks])
    widths = [after - x for x, after in pairwise(xs)]
    lines = (
        Line(rank, position + 1, _path(xs, [_down(of[position], n) for of in ranks]))
        for rank, position in enumerate(final, 1)
    )
    return BumpChart(
        height=_down(n, n) + _ROW / 2,
        columns=tuple(xs),
        lines=tuple(lines),
        bands=tuple(_bands(stages, xs)),
        ranks=tuple(_numbers(n)),
        turns=tuple(_turns(stages, xs, "mix" if replay.mixed else "…"))[::-1],
        starts=tuple(_down(position + 1, n) for position in final[:TOP]),
        rows=tuple(_down(rank, n) for rank in range(1, min(n, TOP) + 1)),
        uneven=max(widths) - min(widths) > 1,
        squeezed=n > TOP and _step(n) < _ROW,
    )


def _ranks(order: Window) -> dict[int, int]:
    return {position: rank for rank, position in enumerate(order, 1)}


def _across(tops: Sequence[Window]) -> list[float]:
    """Where the orders stand; turns that leave the top as it was have a third of the room."""
    still = [before == after for before, after in pairwise(tops)]
    quiet = sum(still)
    even = WIDTH / len(still)
    narrow = min(even, WIDTH / 3 / quiet) if 0 < quiet < len(still) else even
    wide = (WIDTH - quiet * narrow) / (len(still) - quiet) if quiet < len(still) else even
    return [round(x, 1) for x in accumulate((narrow if s else wide for s in still), initial=0.0)]


def _down(rank: int, n: int) -> float:
    """Where a rank stands."""
    if rank <= TOP:
        return _ROW * (rank - 0.5)
    return round(_ROW * (TOP - 0.5) + (rank - TOP) * _step(n), 1)


def _step(n: int) -> float:
    """Pixels between two ranks below the top."""
    return min(_ROW, _BELOW / max(1, n - TOP))


def _path(xs: Sequence[float], ys: Sequence[float]) -> str:
    """Level where a passage keeps its rank, else a curve from rank to rank."""
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
        if len(stage.judged) == n:
            continue
        shown = [rank for rank, at in enumerate(before.order, 1) if at in stage.judged]
        for first, last in _runs(shown):
            top, end = _down(first, n), _down(last, n)
            half = _ROW / 2 if last <= TOP else _step(n) / 2
            top -= _ROW / 2 if first <= TOP else _step(n) / 2
            x = xs[number]
            yield Band(x, round(top, 1), round(xs[number + 1] - x, 1), round(end + half - top, 1))


def _runs(ranks: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The first and last of every run of neighbours."""
    starts = [rank for before, rank in pairwise([-1, *ranks]) if rank != before + 1]
    ends = [rank for rank, after in pairwise([*ranks, -1]) if after != rank + 1]
    return zip(starts, ends, strict=True)


def _numbers(n: int) -> Iterator[Label]:
    """Ranks to read the plot by: as many as have room, the last one among them."""
    last = _down(n, n)
    at = -_APART
    for rank in _ROUND:
        y = _down(rank, n)
        if rank < n and y - at >= _APART and last - y >= _APART:
            yield Label(f"{rank:,}", y)
            at = y
    yield Label(f"{n:,}", last)


def _turns(stages: Sequence[Stage], xs: Sequence[float], other: str) -> Iterator[Label]:
    """The turns' numbers, each above the way it led, where there is room; the last one first."""
    at = math.inf
    for number in range(len(stages) - 1, 0, -1):
        turn = stages[number].turn
        middle = round((xs[number - 1] + xs[number]) / 2, 1)
        if at - middle >= _APART_ACROSS:
            yield Label(other if turn is None else str(turn), middle)
            at = middle
