"""The one loop: a schedule says who is shown together, a policy judges, nothing gets lost."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import replace
from functools import cache
from statistics import fmean, pstdev
from time import perf_counter
from typing import Any, TypeVar
from uuid import uuid4

from rearank_agent.errors import InputError
from rearank_agent.passage import (
    Fault,
    Passage,
    Ranked,
    Ranking,
    Rationale,
    Reply,
    Step,
    Task,
    Usage,
    Window,
    as_passages,
    check_text,
)
from rearank_agent.policies import DEFAULT, Policy
from rearank_agent.policies import policy as policy_of
from rearank_agent.schedules import Schedule, batches, cost, tournament, whole
from rearank_agent.schedules import schedule as schedule_of

__all__ = ["Reranker", "auto", "run_sync"]

_BATCH = 100

T = TypeVar("T")


class Reranker:
    """Ranks passages for queries; safe to share between requests, threads and loops.

    Attributes:
        policy: who judges.
        schedule: who is shown together: a schedule, its name ("sliding:20:10"), or "auto".
        deadline: seconds a request may take before the best order so far is given back.
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
        self.plan(1)

    def plan(self, n: int) -> Schedule:
        """The schedule that would rank n passages.

        Raises:
            InputError: there is no such schedule, or it does not suit the policy.
        """
        if self.schedule == "auto":
            return auto(self.policy, n)
        chosen = self.schedule
        chosen = schedule_of(chosen) if isinstance(chosen, str) else chosen
        if chosen.comparable and not self.policy.scores:
            raise InputError(
                f"the schedule {chosen.name} needs scores that compare across windows, "
                f"and the policy {self.policy.name} gives none"
            )
        return chosen

    async def rerank(
        self,
        query: str,
        passages: Iterable[Passage | str],
        *,
        instruction: str = "",
        blend: float = 0.0,
        progress: Callable[[int, int], None] | None = None,
    ) -> Ranking:
        """Rank the passages; every one comes back exactly once, whatever fails.

        Args:
            query: what is asked.
            passages: in first-stage order, if they come from a first stage.
            instruction: one sentence on what relevant means here.
            blend: b in z(score) - b * z(log1p(first-stage rank)); 0 ignores the given order.
            progress: called after every turn, on the event loop, with the turns done and
                expected.

        Raises:
            InputError: an empty query, no passages, an id twice, something not a string.
        """
        task = self._task(query, instruction, as_passages(passages))
        if not 0 <= blend < math.inf:
            raise InputError(f"the blend must be 0 or more: {blend}")
        request = _Request(task, self.policy, self.plan(len(task.candidates)))
        try:
            async with asyncio.timeout(self.deadline) as limit:
                await request.drive(progress)
        except TimeoutError:
            if not limit.expired():
                raise
            request.late()
        return request.ranking(blend)

    def rerank_sync(
        self,
        query: str,
        passages: Iterable[Passage | str],
        *,
        instruction: str = "",
        blend: float = 0.0,
        progress: Callable[[int, int], None] | None = None,
    ) -> Ranking:
        """`rerank` for callers that do not await, also from inside a running event loop."""
        return run_sync(
            self.rerank(query, passages, instruction=instruction, blend=blend, progress=progress)
        )

    def _task(self, query: str, instruction: str, candidates: tuple[Passage, ...]) -> Task:
        check_text(query, "the query")
        check_text(instruction, "the instruction")
        if not query.strip():
            raise InputError("the query is empty")
        return Task(uuid4().hex[:12], query, instruction.strip(), candidates, self.deadline)


def auto(policy: Policy, n: int) -> Schedule:
    """The schedule that suits a policy: by score where scores compare, else a tournament.

    Beyond a hundred passages scores are asked for in batches: the order is the same, and there
    is progress to show and something in hand when the deadline comes.
    """
    if policy.scores:
        return whole() if n <= _BATCH else batches(_BATCH)
    return tournament()


class _Request:
    """One request on its way: what has been judged, and the best order until now."""

    def __init__(self, task: Task, policy: Policy, schedule: Schedule) -> None:
        self.task, self.policy, self.schedule = task, policy, schedule
        self.order: Window = tuple(range(len(task.candidates)))
        self.steps: list[Step] = []
        self.faults: list[Fault] = []
        self.turns = 0
        self.start = perf_counter()

    @property
    def seconds(self) -> float:
        return perf_counter() - self.start

    async def drive(self, progress: Callable[[int, int], None] | None) -> None:
        n = len(self.order)
        expected = cost(self.schedule, n).turns
        running = self.schedule.start(n)
        turn = next(running)
        while True:
            self.order = turn.order
            steps = await asyncio.gather(*(self._judge(window) for window in turn.windows))
            self.steps += steps
            self.turns += 1
            if progress:
                progress(self.turns, max(expected, self.turns))
            try:
                turn = running.send([step.reply for step in steps])
            except StopIteration as done:
                self.order = done.value
                return

    async def _judge(self, window: Window) -> Step:
        start = perf_counter()
        ids = self.task.ids(window)
        try:
            reply = _sound(await self.policy.judge(self.task, window), ids)
        except Exception as error:  # a failure of whatever kind must not lose a passage
            fault = Fault("failed", ids, f"{type(error).__name__}: {error}")
            reply = Reply(tuple(range(len(window))), faults=(fault,))
        return Step(self.turns + 1, window, reply, perf_counter() - start)

    def late(self) -> None:
        """Note that the deadline came first; the order so far stands."""
        detail = f"{self.turns} turns were done after {self.task.deadline:g} seconds"
        self.faults.append(Fault("deadline", (), detail))

    def ranking(self, blend: float) -> Ranking:
        scores = self._scores()
        order, values = _ordered(self.order, scores, blend)
        rationales = self._rationales()
        faults = _merged([*self.faults, *(f for step in self.steps for f in step.reply.faults)])
        n = len(order)
        ranked = (
            Ranked(
                passage=self.task.candidates[position],
                rank=rank,
                was=position + 1,
                score=values[position] if values else 1 - (rank - 1) / n,
                scored=values is not None,
                rationale=rationales.get(position),
            )
            for rank, position in enumerate(order, 1)
        )
        usage = sum((step.reply.usage for step in self.steps), Usage())
        return Ranking(
            run=self.task.run,
            query=self.task.query,
            instruction=self.task.instruction,
            policy=self.policy.fingerprint,
            schedule=self.schedule.name,
            passages=tuple(ranked),
            steps=tuple(self.steps),
            faults=faults,
            partial=any(fault.kind in ("deadline", "failed") for fault in faults),
            usage=replace(usage, turns=self.turns, seconds=self.seconds),
        )

    def _scores(self) -> list[float] | None:
        """One comparable score a passage; None unless every passage has one."""
        if not self.policy.scores:
            return None
        scores: dict[int, float] = {}
        for step in self.steps:
            scores.update(zip(step.window, step.reply.scores or (), strict=False))
        every = [scores.get(position, math.nan) for position in range(len(self.order))]
        return None if any(map(math.isnan, every)) else every

    def _rationales(self) -> dict[int, Rationale]:
        latest: dict[int, Rationale] = {}
        for step in self.steps:
            latest.update(zip(step.window, step.reply.rationales, strict=False))
        return latest


def _sound(reply: Reply, ids: Sequence[str]) -> Reply:
    """The reply as the protocol wants it; what does not fit is dropped, with a fault."""
    n = len(ids)
    wrong = []
    if sorted(reply.order) != list(range(n)):
        reply, wrong = replace(reply, order=tuple(range(n)), scores=None), ["order"]
    scores = reply.scores
    if scores is not None and not (len(scores) == n and all(map(math.isfinite, scores))):
        reply, wrong = replace(reply, scores=None), [*wrong, "scores"]
    if len(reply.rationales) not in (0, n):
        reply, wrong = replace(reply, rationales=()), [*wrong, "rationales"]
    if not wrong:
        return reply
    fault = Fault("invalid", tuple(ids), f"the policy's {' and '.join(wrong)} did not fit")
    return replace(reply, faults=(*reply.faults, fault))


def _ordered(
    order: Window, scores: list[float] | None, blend: float
) -> tuple[Window, list[float] | None]:
    """The final order, and the value of every position it rests on, if there is one."""
    if blend and len(order) > 1:
        if scores is None:
            scores = [0.0] * len(order)
            for rank, position in enumerate(order, 1):
                scores[position] = -float(rank)
        first = _z([math.log1p(rank) for rank in range(1, len(order) + 1)])
        scores = [z - blend * f for z, f in zip(_z(scores), first, strict=True)]
    if scores is None:
        return order, None
    return tuple(sorted(order, key=lambda position: -scores[position])), scores


def _z(values: Sequence[float]) -> list[float]:
    """The values in standard deviations from their mean; all 0 where they are equal."""
    mean, spread = fmean(values), pstdev(values)
    return [(value - mean) / spread if spread else 0.0 for value in values]


def _merged(faults: Iterable[Fault]) -> tuple[Fault, ...]:
    """Equal faults of several windows as one, with the ids of all."""
    ids: dict[tuple[str, str], dict[str, None]] = {}
    for fault in faults:
        ids.setdefault((fault.kind, fault.detail), {}).update(dict.fromkeys(fault.ids))
    return tuple(Fault(kind, tuple(of), detail) for (kind, detail), of in ids.items())


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """A loop on a thread of its own, so that a caller inside a loop can wait for it too."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="rearank", daemon=True).start()
    return loop


def run_sync(coroutine: Coroutine[Any, Any, T]) -> T:
    """The coroutine's result; an interrupt while waiting cancels it."""
    future = asyncio.run_coroutine_threadsafe(coroutine, _loop())
    try:
        return future.result()
    finally:
        future.cancel()
