"""A schedule and its turns."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

from rearank_agent.types import Fault, Reply, Window

__all__ = ["Schedule", "Turn", "Turns", "reordered"]


@dataclass(frozen=True, slots=True)
class Turn:
    """Windows to rank at the same time, and the best order of all passages until then.

    Attributes:
        windows: positions, each window ranked on its own.
        order: a permutation of all positions.
        faults: what the schedule left out, if it had to.
        judges: for each window which policy ranks it, from 0; empty where there is only one.
    """

    windows: tuple[Window, ...]
    order: Window
    faults: tuple[Fault, ...] = ()
    judges: tuple[int, ...] = ()

    @property
    def judged(self) -> tuple[tuple[int, Window], ...]:
        """Every window behind the number of the policy that ranks it."""
        return tuple(zip(self.judges or (0,) * len(self.windows), self.windows, strict=True))


Turns = Generator[Turn, Sequence[Reply], Window]


@dataclass(frozen=True, slots=True)
class Schedule:
    """A way to rank n passages by ranking windows of them.

    Attributes:
        name: its name and numbers, as `schedule()` reads them: "sliding:20:10".
        start: takes n, returns the turns.
        comparable: whether it needs scores that compare across windows.
    """

    name: str
    start: Callable[[int], Turns]
    comparable: bool = False


def reordered(window: Window, reply: Reply) -> Window:
    """The window's positions in the reply's order."""
    return tuple(window[i] for i in reply.order)
