"""Schedules of several policies: one after the other on the best, or all and fused."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from rearank_agent.schedules.turn import Schedule, Turn, Turns
from rearank_agent.types import Reply, Window

__all__ = ["cascade", "cascade_name", "ensemble", "fused", "split_cascade"]

_SIZE = re.compile(r"\s*[0-9]{1,9}\s*")
RANK_OFFSET = 60
"""The constant of reciprocal rank fusion (Cormack, Clarke and Buettcher, SIGIR 2009)."""


def cascade(stages: Sequence[tuple[Schedule, int]], keep: Sequence[int]) -> Schedule:
    """One policy after the other, each on the best of the one before; the rest stay behind.

    Args:
        stages: the schedule of each stage, and how many policies it has.
        keep: how many passages each stage but the first ranks.
    """

    def turns(n: int) -> Turns:
        order: Window = tuple(range(n))
        first = 0
        for (stage, policies), size in zip(stages, (n, *keep), strict=True):
            order = yield from _ranked_head(stage, first, order, min(size, n))
            first += policies
        return order

    return Schedule(cascade_name([stage.name for stage, _ in stages], keep), turns)


def cascade_name(stages: Sequence[str], keep: Sequence[int]) -> str:
    """The name of a cascade of schedules or policies: "A,20,B"."""
    pairs = zip(keep, stages[1:], strict=True)
    return ",".join([stages[0], *(f"{size},{stage}" for size, stage in pairs)])


def split_cascade(name: str) -> tuple[list[str], list[int]] | None:
    """The stages in a name of `cascade_name`, and their sizes; None if it is no such name.

    Of one that ends with a size, which is no whole name, there are as many sizes as stages.
    """
    first, *rest = name.split(",")
    sizes, stages = rest[0::2], rest[1::2]
    if not rest or not all(map(_SIZE.fullmatch, sizes)):
        return None
    return [stage.strip() for stage in (first, *stages)], [int(size) for size in sizes]


def _ranked_head(schedule: Schedule, first: int, order: Window, size: int) -> Turns:
    """The turns of a stage that ranks the first `size` passages of an order."""
    head, tail = order[:size], order[size:]
    running = schedule.start(size)
    turn = next(running)
    while True:
        replies = yield Turn(
            windows=tuple(_at(head, window) for window in turn.windows),
            order=_at(head, turn.order) + tail,
            faults=turn.faults,
            judges=tuple(first + judge for judge, _ in turn.judged),
        )
        try:
            turn = running.send(replies)
        except StopIteration as done:
            return _at(head, done.value) + tail


def ensemble(parts: Sequence[tuple[Schedule, int]]) -> Schedule:
    """Several policies on the same passages at the same time; their orders are fused.

    Args:
        parts: the schedule of each judge, and how many policies it has.
    """

    def turns(n: int) -> Turns:
        orders: list[Window] = [tuple(range(n)) for _ in parts]
        running = {number: schedule.start(n) for number, (schedule, _) in enumerate(parts)}
        open_ = {number: next(one) for number, one in running.items()}
        first = [sum(policies for _, policies in parts[:number]) for number in range(len(parts))]
        while open_:
            replies = yield _merged(open_, first, fused(orders))
            for number, own in _divided(open_, replies):
                try:
                    open_[number] = running[number].send(own)
                    orders[number] = open_[number].order
                except StopIteration as done:
                    orders[number] = done.value
                    del open_[number]
        return fused(orders)

    return Schedule("+".join(schedule.name for schedule, _ in parts), turns)


def _merged(turns: dict[int, Turn], first: Sequence[int], order: Window) -> Turn:
    """The turns of several schedules as one."""
    return Turn(
        windows=tuple(window for turn in turns.values() for window in turn.windows),
        order=order,
        faults=tuple(fault for turn in turns.values() for fault in turn.faults),
        judges=tuple(first[n] + judge for n, turn in turns.items() for judge, _ in turn.judged),
    )


def _divided(
    turns: dict[int, Turn], replies: Sequence[Reply]
) -> Iterator[tuple[int, Sequence[Reply]]]:
    """The replies of each schedule."""
    start = 0
    for number, turn in list(turns.items()):
        end = start + len(turn.windows)
        yield number, replies[start:end]
        start = end


def fused(orders: Sequence[Window]) -> Window:
    """The orders by reciprocal rank fusion; equals keep the order of the first."""
    score = dict.fromkeys(orders[0], 0.0)
    for order in orders:
        for rank, position in enumerate(order, 1):
            score[position] += 1 / (RANK_OFFSET + rank)
    return tuple(sorted(score, key=lambda position: -score[position]))


def _at(positions: Window, places: Window) -> Window:
    return tuple(positions[place] for place in places)
