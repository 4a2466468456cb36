"""A policy in place of one that cannot run here."""

from __future__ import annotations

from dataclasses import replace

from rearank_agent.policies.protocol import Policy
from rearank_agent.policies.wrapper import Wrapper
from rearank_agent.types import Fault, Reply, Task, Window

__all__ = ["Fallback"]


class Fallback(Wrapper):
    """A policy in place of one that cannot run here; every reply has the fault `fallback`.

    Attributes:
        policy: the one that ranks.
        detail: which policy it replaces, why, and what would fix that.
    """

    def __init__(self, policy: Policy, detail: str) -> None:
        super().__init__(policy)
        self.detail = detail

    async def judge(self, task: Task, window: Window) -> Reply:
        """The replacement's reply, with a fault `fallback`."""
        reply = await self.policy.judge(task, window)
        return replace(reply, faults=(Fault("fallback", detail=self.detail), *reply.faults))
