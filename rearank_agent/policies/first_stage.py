"""The first stage's own order as a policy: the baseline of every measurement."""

from __future__ import annotations

from dataclasses import dataclass

from rearank_agent.policies.protocol import best_first, instruction_fault
from rearank_agent.types import Reply, Task, Window

__all__ = ["FirstStage"]


@dataclass(frozen=True)
class FirstStage:
    """Keeps the order it was given."""

    name = "first-stage"
    fingerprint = "first-stage"
    scores = True
    scale = 1.0
    blend = 0.0
    window = None

    async def judge(self, task: Task, window: Window) -> Reply:
        """Order the window as in the task."""
        n = len(task.candidates)
        scores = tuple(1 - position / n for position in window)
        return Reply(best_first(scores), scores, faults=instruction_fault(task, self.name))
