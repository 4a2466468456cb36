"""A cache of replies, for the same window of the same query."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256

from rearank_agent.errors import InputError, PolicyError, SetupError
from rearank_agent.policies.protocol import Policy
from rearank_agent.policies.wrapper import WindowWrapper
from rearank_agent.store import Store
from rearank_agent.types import Fault, Reply, Task, Usage, Window

__all__ = ["Cached"]


class Cached(WindowWrapper):
    """A policy with a cache of its replies, for the same window of the same query.

    The key: the policy's fingerprint, the query, the instruction, and titles and texts of the
    window in their order. Ids do not count. Errors and replies without an answer are not cached.

    Attributes:
        policy: ranks what is not cached yet; a policy with a window.
        store: where replies are cached.
        replay: whether only cached replies are used; a miss is a PolicyError.
    """

    def __init__(self, policy: Policy, store: Store, *, replay: bool = False) -> None:
        super().__init__(policy)
        self.store = store
        self.replay = replay

    async def judge(self, task: Task, window: Window) -> Reply:
        """The cached reply with `usage.hits` 1, else the policy's.

        A store that cannot be used is the fault `cache`, not an error.

        Raises:
            PolicyError: as the policy raises it; or when replaying, the reply is not cached.
        """
        key, ids = self._key(task, window), task.ids(window)
        fault: tuple[Fault, ...] = ()
        try:
            cached = await asyncio.to_thread(self.store.get, key)
            if cached is not None:
                return _named(Reply.from_json(cached), ids)
        except (SetupError, InputError) as error:
            fault = (Fault("cache", (), str(error)),)
        if self.replay:
            why = fault[0].detail if fault else f"no reply is cached in {self.store.path}"
            raise PolicyError(f"replaying, and {why}")
        reply = await self.policy.judge(task, window)
        if reply.answered:  # else the next one may be
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
    """The reply with places in the window for ids, as it is cached."""
    places = {id_: str(place) for place, id_ in enumerate(ids)}
    return _renamed(reply, places)


def _named(reply: Reply, ids: Sequence[str]) -> Reply:
    """A cached reply with this window's ids, and at no cost."""
    renamed = _renamed(reply, {str(place): id_ for place, id_ in enumerate(ids)})
    return replace(renamed, usage=Usage(hits=1))


def _renamed(reply: Reply, names: dict[str, str]) -> Reply:
    faults = (replace(f, ids=tuple(names.get(i, i) for i in f.ids)) for f in reply.faults)
    return replace(reply, faults=tuple(faults))
