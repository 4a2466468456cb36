"""A ranking's orders turn by turn, from what was recorded: the schedule is run again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from rearank_agent.errors import InputError
from rearank_agent.schedules import schedule
from rearank_agent.types import Ranking, Reply, Step, Window

__all__ = ["Replay", "Stage", "replay"]


@dataclass(frozen=True, slots=True)
class Stage:
    """An order of everything, as positions in the list that was given.

    Attributes:
        order: best first.
        judged: the positions shown to the judge on the way here from the stage before.
        turn: after which turn, from 1; 0 for the list as it was given, None for the final order
            where no turn alone gave it.
    """

    order: Window
    judged: frozenset[int] = frozenset()
    turn: int | None = None


@dataclass(frozen=True, slots=True)
class Replay:
    """How an order came about.

    Attributes:
        stages: from the list as it was given to the final order.
        untold: turns that were recorded and could not be replayed.
    """

    stages: tuple[Stage, ...]
    untold: int

    @property
    def mixed(self) -> bool:
        """Whether the final order is another than the last turn's, though all were replayed."""
        before, last = self.stages[-2:]
        return last.turn is None and last.order != before.order and not self.untold


def replay(ranking: Ranking) -> Replay:
    """The orders a ranking went through, as far as its windows are those its schedule asks for."""
    turns = [list(steps) for _, steps in groupby(ranking.steps, key=lambda step: step.turn)]
    final = tuple(ranked.was - 1 for ranked in ranking.passages)
    stages = [Stage(tuple(range(len(final))), turn=0), *_replayed(ranking.schedule, final, turns)]
    told = len(stages) - 1
    if stages[-1].order != final or told < max(1, len(turns)):
        stages.append(Stage(final))
    return Replay(tuple(stages), len(turns) - told)


def _replayed(name: str, final: Window, turns: Sequence[Sequence[Step]]) -> list[Stage]:
    """A stage for every turn, until one whose windows are not those of the schedule."""
    stages: list[Stage] = []
    try:
        running = schedule(name).start(len(final))
    except InputError:  # a schedule of the caller's own, or none
        return stages
    try:
        turn = next(running)
        for number, steps in enumerate(turns, 1):
            said: dict[Window, Reply] = {step.window: step.reply for step in steps}
            if set(said) != set(turn.windows):
                break
            judged = frozenset(position for window in said for position in window)
            try:
                turn = running.send([said[window] for window in turn.windows])
            except StopIteration as done:
                stages.append(Stage(done.value, judged, number))
                break
            stages.append(Stage(turn.order, judged, number))
    finally:
        running.close()
    return stages
