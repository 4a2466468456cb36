"""The protocol of policies, and the functions they share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from rearank_agent.types import Fault, Reply, Task, Window

__all__ = ["Policy", "best_first", "gaps_last", "instruction_fault", "sigmoid", "unit_score"]


@runtime_checkable
class Policy(Protocol):
    """Ranks the passages of a window.

    It sees the whole task, so that what belongs to the request (an idf, an encoding) is
    computed once. `judge` never blocks the event loop and can be cancelled.
    """

    @property
    def name(self) -> str:
        """The name it is requested by."""
        ...

    @property
    def fingerprint(self) -> str:
        """The name and all that its replies depend on: weights, template, format, sampling."""
        ...

    @property
    def scores(self) -> bool:
        """Whether its scores can be compared across windows of one task."""
        ...

    @property
    def scale(self) -> float | None:
        """The upper bound of its scores; None if they have none."""
        ...

    @property
    def blend(self) -> float:
        """The best weight of the first-stage rank to blend with its scores; 0 for none."""
        ...

    @property
    def window(self) -> int | None:
        """The maximum passages it is shown at once; None for a policy of whole requests.

        A policy with a window ranks by its passages alone. One without may use all candidates
        of the task, and takes any number of them.
        """
        ...

    async def judge(self, task: Task, window: Window) -> Reply:
        """Order the passages at these positions of `task.candidates`.

        Raises:
            PolicyError: the model failed; the message holds its error.
        """
        ...


def best_first(scores: Sequence[float]) -> tuple[int, ...]:
    """The positions of the scores from high to low; equal scores keep their order."""
    return tuple(sorted(range(len(scores)), key=lambda position: -scores[position]))


def gaps_last(numbers: Sequence[float | None]) -> tuple[float, ...]:
    """The numbers, with one just below the lowest where there is none; one at least is known."""
    last = math.nextafter(min(number for number in numbers if number is not None), -math.inf)
    return tuple(last if number is None else number for number in numbers)


def unit_score(score: float, scale: float | None) -> float:
    """A policy's score from 0 to 1: the part of its scale, or s / (1 + s) where it has none.

    The map is fixed, so that a threshold means the same in every request: other passages do not
    change it, as they would if it used the lowest and highest score of a request. A score
    below 0 counts as 0.
    """
    score = max(0.0, score)
    return score / (1 + score) if scale is None else min(1.0, score / scale)


def sigmoid(number: float) -> float:
    """1 / (1 + exp(-x)), without overflow."""
    if number >= 0:
        return 1 / (1 + math.exp(-number))
    return math.exp(number) / (1 + math.exp(number))


def instruction_fault(task: Task, policy: str) -> tuple[Fault, ...]:
    """The fault of a policy that cannot use the task's instruction, if there is one."""
    if not task.instruction:
        return ()
    return (Fault("instruction", detail=f"the policy {policy} cannot follow an instruction"),)
