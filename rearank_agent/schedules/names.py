"""Schedules by name, and what one would cost."""

from __future__ import annotations

from collections.abc import Callable

from rearank_agent.errors import InputError
from rearank_agent.schedules.composed import cascade, ensemble, split_cascade
from rearank_agent.schedules.turn import Schedule, Turn
from rearank_agent.schedules.windows import batches, groups, sliding, topdown, tournament, whole
from rearank_agent.types import Reply, Usage, Window

__all__ = ["SCHEDULES", "cost", "dry_run", "schedule"]

SCHEDULES: dict[str, Callable[..., Schedule]] = {
    each.__name__: each
    for each in (
        whole,
        sliding,
        tournament,
        topdown,
        groups,
        batches,
    )
}


def schedule(name: str) -> Schedule:
    """The schedule of a name with or without its numbers: "sliding", "sliding:10:5".

    Those of several policies are named by their parts: "whole,20,tournament" for a cascade,
    "whole+whole" for an ensemble.

    Raises:
        InputError: no such schedule, or numbers it cannot use.
    """
    if "," in name:
        stages, sizes = split_cascade(name) or ([], [])
        if len(sizes) != len(stages) - 1:
            raise InputError(f"{name!r} is no cascade of schedules, as in whole,20,tournament")
        return cascade([(schedule(stage), stage.count("+") + 1) for stage in stages], sizes)
    if "+" in name:
        return ensemble([(schedule(part), 1) for part in name.split("+")])
    return _plain(name)


def _plain(name: str) -> Schedule:
    kind, *numbers = name.split(":")
    if kind not in SCHEDULES:
        raise InputError(f"no schedule is called {name!r}; there are: {', '.join(SCHEDULES)}, auto")
    try:
        return SCHEDULES[kind](*map(int, numbers))
    except InputError:
        raise
    except (TypeError, ValueError):
        raise InputError(f"{name!r}: {kind} cannot take these numbers") from None


def dry_run(schedule: Schedule, n: int) -> list[Turn]:
    """The turns of ranking n passages if the first stage's order is right.

    Schedules that partition (topdown) need more if it is not.
    """
    turns: list[Turn] = []
    running = schedule.start(n)
    try:
        turn = next(running)
        while True:
            turns.append(turn)
            turn = running.send([_as_given(window) for window in turn.windows])
    except StopIteration:
        return turns


def cost(schedule: Schedule, n: int) -> Usage:
    """The calls and turns of `dry_run`."""
    turns = dry_run(schedule, n)
    return Usage(calls=sum(len(turn.windows) for turn in turns), turns=len(turns))


def _as_given(window: Window) -> Reply:
    order = tuple(sorted(range(len(window)), key=window.__getitem__))
    return Reply(order, scores=tuple(float(-position) for position in window))
