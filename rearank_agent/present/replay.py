"""A ranking's orders turn by turn: the schedule run again on the recorded replies."""

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
    """An order of all passages, as positions in the list that was given.

    Attributes:
        order: best first.
        reranked: the positions in the windows of the turn that led here.
        turn: the turn that led here, from 1; 0 for the list as it was given, None for the final
            order where it is not that of a turn.
    """

    order: Window
    reranked: frozenset[int] = frozenset()
    turn: int | None = None


@dataclass(frozen=True, slots=True)
class Replay:
    """The orders of a ranking.

    Attributes:
        stages: from the list as it was given to the final order.
        not_replayed: the number of recorded turns that could not be replayed.
    """

    stages: tuple[Stage, ...]
    not_replayed: int

    @property
    def mixed(self) -> bool:
        """Whether the final order is not the last turn's, though all turns were replayed."""
        before, last = self.stages[-2:]
        return last.turn is None and last.order != before.order and not self.not_replayed


def replay(ranking: Ranking) -> Replay:
    """The orders of a ranking, as far as its windows are those its schedule asks for."""
    turns = [list(steps) for _, steps in groupby(ranking.steps, key=lambda step: step.turn)]
    final = tuple(ranked.was - 1 for ranked in ranking.passages)
    stages = [Stage(tuple(range(len(final))), turn=0), *_replayed(ranking.schedule, final, turns)]
    replayed = len(stages) - 1
    if stages[-1].order != final or replayed < max(1, len(turns)):
        stages.append(Stage(final))
    return Replay(tuple(stages), len(turns) - replayed)


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
            replies: dict[tuple[int, Window], Reply] = {
                (step.judge, step.window): step.reply for step in steps
            }
            if set(replies) != set(turn.judged):
                break
            reranked = frozenset(position for _, window in replies for position in window)
            try:
                turn = running.send([replies[one] for one in turn.judged])
            except StopIteration as done:
                stages.append(Stage(done.value, reranked, number))
                break
            stages.append(Stage(turn.order, reranked, number))
    finally:
        running.close()
    return stages
