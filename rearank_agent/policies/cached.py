"""Replies kept, and given again for the same window of the same query."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256

from rearank_agent.errors import InputError, PolicyError, SetupError
from rearank_agent.policies.protocol import Policy
from rearank_agent.policies.wrapper import WindowWrapper, answered
from rearank_agent.store import Store
from rearank_agent.types import Fault, Reply, Task, Usage, Window

__all__ = ["Cached"]


class Cached(WindowWrapper):
    """Replies are kept, and given again for the same window of the same question.

    What is the same: the policy's fingerprint, the query, the instruction, and titles and texts
    of the window in their order. Ids do not count. Errors and replies without an answer are not
    kept.

    Attributes:
        policy: who judges what is not kept yet; a policy with a window.
        store: where replies are kept.
        replay: whether only kept replies are given; others are a PolicyError.
    """

    def __init__(self, policy: Policy, store: Store, *, replay: bool = False) -> None:
        super().__init__(policy)
        self.store = store
        self.replay = replay

    async def judge(self, task: Task, window: Window) -> Reply:
        """The kept reply with `usage.hits` 1, else the policy's.

        A store that cannot be used is the fault `cache`, not an error.

        Raises:
            PolicyError: as the policy raises it; or when replaying, the reply is not kept.
        """
        key, ids = self._key(task, window), task.ids(window)
        fault: tuple[Fault, ...] = ()
        try:
            kept = await asyncio.to_thread(self.store.get, key)
            if kept is not None:
                return _named(Reply.from_json(kept), ids)
        except (SetupError, InputError) as error:
            fault = (Fault("cache", (), str(error)),)
        if self.replay:
            why = fault[0].detail if fault else f"no reply is kept in {self.store.path}"
            raise PolicyError(f"replaying, and {why}")
        reply = await self.policy.judge(task, window)
        if answered(reply):  # another may be, next time
            try:
                await asyncio.to_thread(self.store.put, key, _numbered(reply, ids).to_json())
            except SetupError as error:
                fault = (Fault("cache", (), str(error)),)
        return replace(reply, faults=(*reply.faults, *fault)) if fault else reply

    def _key(self, task: Task, window: Window) -> str:
        shown = [[task.candidates[p].title, task.candidates[p].text] for p in window]
        parts = [self.fingerprint, task.query, task.instruction, shown]
        return sha256(json.dumps(parts, ensure_ascii=False).encode()).hexdigest()


def _numbered(reply: Reply, ids: Sequence[str]) -> Reply:
    """The reply with places in the window for ids, as it is kept."""
    places = {id_: str(place) for place, id_ in enumerate(ids)}
    return _renamed(reply, places)


def _named(reply: Reply, ids: Sequence[str]) -> Reply:
    """A kept reply with this window's ids, and at no cost."""
    kept = _renamed(reply, {str(place): id_ for place, id_ in enumerate(ids)})
    return replace(kept, usage=Usage(hits=1))


def _renamed(reply: Reply, names: dict[str, str]) -> Reply:
    faults = (replace(f, ids=tuple(names.get(i, i) for i in f.ids)) for f in reply.faults)
    return replace(reply, faults=tuple(faults))
