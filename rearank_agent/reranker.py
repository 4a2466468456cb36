"""The reranker: a schedule picks windows, a policy ranks each, and no passage is lost."""

from __future__ import annotations

import asyncio
import math
import os
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar
from uuid import uuid4

from rearank_agent.errors import InputError, shown
from rearank_agent.intake.passages import as_passages
from rearank_agent.policies.auto_schedule import plan
from rearank_agent.policies.blend import BlendBy
from rearank_agent.policies.protocol import Policy
from rearank_agent.policies.registry import DEFAULT
from rearank_agent.policies.registry import policy as policy_of
from rearank_agent.queueing.work import in_progress
from rearank_agent.request import Request
from rearank_agent.schedules import Schedule
from rearank_agent.tracing import content_wanted, span
from rearank_agent.types import Passage, Ranking, Task, Usage, check_text

__all__ = ["AT_ONCE", "Reranker", "run_sync"]

AT_ONCE = 16  # requests that wait for a model

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


def _sync(
    method: Callable[Concatenate[R, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[R, P], T]:
    """The twin of a method for callers that do not await, with the same arguments."""

    @wraps(method)
    def run(self: R, /, *args: P.args, **options: P.kwargs) -> T:
        begun: Coroutine[Any, Any, T] = getattr(self, method.__name__)(*args, **options)
        return run_sync(begun)

    run.__name__ += "_sync"
    run.__qualname__ += "_sync"
    run.__doc__ = f"`{method.__name__}` without awaiting, also from inside a running event loop."
    return run


class Reranker:
    """Ranks passages for queries; safe to share between requests, threads and loops.

    Attributes:
        policy: ranks one window at a time.
        schedule: picks the windows: a `Schedule`, its name ("sliding:20:10"), or "auto".
        deadline: seconds a request may take before the best order so far is returned.
    """

    def __init__(
        self,
        policy: Policy | str = DEFAULT,
        *,
        schedule: Schedule | str = "auto",
        deadline: float | None = None,
    ) -> None:
        if deadline is not None and not 0 < deadline < math.inf:
            raise InputError(f"the deadline must be a number of seconds above 0: {deadline}")
        self.policy = policy_of(policy) if isinstance(policy, str) else policy
        self.schedule = schedule
        self.deadline = deadline
        self._recent: deque[float] = deque(maxlen=9)
        self.plan(1)

    def plan(self, n: int, turns_left: Callable[[], float] = lambda: math.inf) -> Schedule:
        """The schedule that would rank n passages.

        Args:
            n: how many.
            turns_left: how many more turns there is time for; called before each turn.

        Raises:
            InputError: there is no such schedule, or it does not suit the policy.
        """
        return plan(self.policy, self.schedule, n, turns_left)

    async def rerank(
        self,
        query: str,
        passages: Iterable[object],
        *,
        instruction: str = "",
        blend: float = 0.0,
        blend_by: BlendBy = "rank",
        deadline: float | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Ranking:
        """Rank the passages; every one comes back exactly once, whatever fails.

        Args:
            query: what is asked.
            passages: in first-stage order, if they come from a first stage; in any form that
                `as_passages` takes (docs/python.md).
            instruction: one sentence on what relevant means here.
            blend: b in z(score) - b * z(log1p(first-stage rank)); 0 ignores the given order.
            blend_by: "score" for z(score) + b * z(first-stage score), of which every passage
                must have one.
            deadline: seconds this request may take, where they are fewer than the reranker's.
            progress: called after every turn, on the event loop, with the turns done and
                expected.

        Raises:
            InputError: an empty query, no passages, an id twice, something that is no passage, a
                blend by scores that some passages lack.
        """
        limit = math.inf if deadline is None else deadline
        if not limit >= 0:
            raise InputError(f"the deadline must be a number of seconds, 0 or more: {deadline}")
        limit = min(limit, self.deadline or math.inf)
        task = self._task(query, instruction, as_passages(passages), limit)
        if not 0 <= blend < math.inf:
            raise InputError(f"the blend must be 0 or more: {blend}")
        if blend_by == "score" and any(one.score is None for one in task.candidates):
            raise InputError("to blend by scores, every passage needs its first-stage score")
        request = Request(task, self.policy, self._recent)
        about = {"run": task.run, "policy": self.policy.name, "passages": len(task.candidates)}
        traced = {"query": query} if content_wanted() else {}
        with in_progress(), span("rerank", **about, **traced) as found:
            schedule = self.plan(len(task.candidates), request.turns_left)
            await request.run(schedule, progress)
            ranking = request.ranking(blend, blend_by)
            found |= {"schedule": ranking.schedule, "partial": ranking.partial}
            found |= {name: getattr(ranking.usage, name) for name in Usage.__slots__}
            found["faults"] = [fault.kind for fault in ranking.faults]
        return ranking

    rerank_sync = _sync(rerank)

    @property
    def at_once(self) -> int:
        """How many of many requests are ranked at the same time: one if they share a processor."""
        return AT_ONCE if self.policy.window else 1

    async def rerank_many(
        self,
        requests: Iterable[tuple[str, Iterable[object]]],
        *,
        instruction: str = "",
        blend: float = 0.0,
        deadline: float | None = None,
        at_once: int | None = None,
    ) -> list[Ranking | Exception]:
        """Rank many requests, a few at the same time; the seconds of each begin with its work.

        Args:
            requests: pairs of a query and its passages.
            instruction: for each request, as for `rerank`; so are `blend` and `deadline`.
            blend: as for `rerank`.
            deadline: seconds of each request; waiting for the ones before it does not count.
            at_once: how many are ranked at the same time; None for the reranker's `at_once`.

        Returns:
            A ranking for each request, in their order; where `rerank` raised, the exception.

        Raises:
            InputError: at_once is below 1.
        """
        workers = self.at_once if at_once is None else at_once
        if workers < 1:
            raise InputError(f"at_once must be 1 or more: {at_once}")
        options: Any = {"instruction": instruction, "blend": blend, "deadline": deadline}
        waiting = deque(enumerate(requests))
        done: dict[int, Ranking | Exception] = {}

        async def work() -> None:
            while waiting:
                position, request = waiting.popleft()
                try:
                    done[position] = await self.rerank(*_pair(request), **options)
                except Exception as error:  # also one that the caller's own passages raise
                    done[position] = error

        async with asyncio.TaskGroup() as group:
            for _ in range(min(workers, len(waiting))):
                group.create_task(work())
        return [done[position] for position in sorted(done)]

    rerank_many_sync = _sync(rerank_many)

    def _task(
        self, query: str, instruction: str, candidates: tuple[Passage, ...], limit: float
    ) -> Task:
        check_text(query, "the query")
        check_text(instruction, "the instruction")
        if not query.strip():
            raise InputError("the query is empty")
        deadline = limit if limit < math.inf else None
        return Task(uuid4().hex[:12], query, instruction.strip(), candidates, deadline)


def _pair(request: object) -> tuple[str, Iterable[object]]:
    if not isinstance(request, tuple | list) or len(request) != 2:
        raise InputError(f"a request must be a pair of a query and its passages: {shown(request)}")
    return request[0], request[1]


_loops: list[asyncio.AbstractEventLoop] = []
_loop_lock = threading.Lock()


def _loop() -> asyncio.AbstractEventLoop:
    """A loop on a thread of its own, so that a caller inside a loop can wait for it too."""
    with _loop_lock:
        if not _loops:
            loop = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name="rearank", daemon=True).start()
            _loops.append(loop)
        return _loops[0]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_loops.clear)  # the thread stays with the parent


def run_sync(coroutine: Coroutine[Any, Any, T]) -> T:
    """The coroutine's result; an interrupt at any moment until then cancels it."""
    loop, ended = _loop(), threading.Event()
    tasks: list[asyncio.Task[Any]] = []

    async def run() -> T:
        # The interrupt may come before this began, or before its future is in anybody's hands.
        if task := asyncio.current_task():
            tasks.append(task)
        if ended.is_set():
            coroutine.close()
            raise asyncio.CancelledError
        return await coroutine

    try:
        return asyncio.run_coroutine_threadsafe(run(), loop).result()
    finally:
        ended.set()
        for task in tasks:
            loop.call_soon_threadsafe(task.cancel)
