"""One rerank request: its turns, its deadline, and the ranking."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextvars import copy_context
from dataclasses import replace
from statistics import median
from time import perf_counter
from typing import TypeVar

from rearank_agent.llm.limits import DEADLINE
from rearank_agent.policies.blend import BlendBy, blended_order
from rearank_agent.policies.composed import leaves, own_scores
from rearank_agent.policies.protocol import Policy, unit_score
from rearank_agent.queueing.work import WORK, Work
from rearank_agent.redact import redact
from rearank_agent.schedules import Schedule, Turn, cost
from rearank_agent.text import whole_characters
from rearank_agent.tracing import span
from rearank_agent.types import Fault, Ranked, Ranking, Reply, Step, Task, Usage, Window

__all__ = ["Request"]

_MAX_ERROR = 500  # characters of an error: some servers send the whole prompt back
_MARGIN = 1.1  # how much longer the next turn may take

T = TypeVar("T")


class Request:
    """The windows of a task ranked so far, and the best order.

    Args:
        recent: the seconds of the reranker's latest turns; this request's are appended.

    Attributes:
        late: whether the deadline came before the end.
        failed_turns: how many turns in a row, up to the last, only failed.
    """

    def __init__(self, task: Task, policy: Policy, recent: deque[float]) -> None:
        self.task, self.policy, self.recent = task, policy, recent
        self.judges = leaves(policy)
        self.work = Work(len(task.candidates))
        self.schedule = ""
        self.order: Window = tuple(range(len(task.candidates)))
        self.steps: list[Step] = []
        self.faults: list[Fault] = []
        self.turns = 0
        self.slowest = 0.0
        self.failed_turns = 0
        self.late = False
        self.start = perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds since the request began."""
        return perf_counter() - self.start

    def turns_left(self) -> float:
        """How many more turns there is time for, judging by those so far."""
        if self.task.deadline is None:
            return math.inf
        turn = self.slowest or (median(self.recent) if self.recent else 0.0)
        return (self.task.deadline - self.seconds) / (turn * _MARGIN) if turn else math.inf

    async def run(self, schedule: Schedule, progress: Callable[[int, int], None] | None) -> None:
        """Rank turn after turn until the schedule, the deadline or a failing policy ends it."""
        self.schedule = schedule.name
        expected = cost(schedule, len(self.order)).turns if progress else 0
        running = schedule.start(len(self.order))
        turn = next(running)
        while True:
            self.order = turn.order
            self.faults += turn.faults
            replies = await self._judge_turn(turn)
            if progress and not self.late:
                progress(self.turns, max(expected, self.turns))
            try:
                turn = running.send(replies)
            except StopIteration as done:
                self.order = done.value
                return
            if self.late or self.failing:
                self.order = turn.order
                return

    @property
    def failing(self) -> bool:
        """Whether all windows failed in the first turn, or in two turns in a row."""
        return self.failed_turns >= min(2, self.turns)

    @property
    def _unjudged(self) -> bool:
        """Whether windows were ranked and none has an answer."""
        return bool(self.steps) and not any(step.reply.answered for step in self.steps)

    async def _judge_turn(self, turn: Turn) -> list[Reply]:
        """A reply for every window of the turn; an unfinished window keeps its order."""
        begun = perf_counter()
        context = copy_context()
        limit = self.task.deadline
        context.run(DEADLINE.set, None if limit is None else self.start + limit)
        context.run(WORK.set, self.work)
        tasks = [
            asyncio.create_task(self._judge_window(judge, window), context=context)
            for judge, window in turn.judged
        ]
        try:
            await asyncio.wait(tasks, timeout=self._time_left())
        finally:
            steps = [one.result() for one in tasks if one.done()]
            for one in tasks:
                one.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        self.steps += steps
        self._record_turn(steps, perf_counter() - begun, late=len(steps) < len(tasks))
        replies = {(step.judge, step.window): step.reply for step in steps}
        return [replies.get(one) or Reply(tuple(range(len(one[1])))) for one in turn.judged]

    def _time_left(self) -> float | None:
        """Seconds until the deadline; None for no limit."""
        limit = self.task.deadline
        return None if limit is None else max(0.0, limit - self.seconds)

    def _record_turn(self, steps: Sequence[Step], seconds: float, *, late: bool) -> None:
        """Update times, failures and the count of turns."""
        self.slowest = max(self.slowest, seconds)
        self.recent.append(seconds)
        failed = [any(f.kind == "failed" for f in step.reply.faults) for step in steps]
        self.failed_turns = self.failed_turns + 1 if failed and all(failed) else 0
        self.late = late
        if late:
            detail = f"{self.turns} turns were done after {self.task.deadline:g} seconds"
            self.faults.append(Fault("deadline", (), detail))
            if self.work.starved:
                self.faults.append(Fault("busy", (), "other requests were first; it was not begun"))
        else:
            self.turns += 1

    async def _judge_window(self, judge: int, window: Window) -> Step:
        start = perf_counter()
        ids = self.task.ids(window)
        with span("rerank window", turn=self.turns + 1, passages=len(window)) as found:
            try:
                reply = _validated(await self.judges[judge].judge(self.task, window), ids)
            except (Exception, asyncio.CancelledError) as error:  # no error may lose a passage
                if _ended_from_outside(error):
                    raise
                message = whole_characters(redact(f"{type(error).__name__}: {error}"))
                fault = Fault("failed", ids, message[:_MAX_ERROR])
                usage = getattr(error, "usage", None) or Usage()
                reply = Reply(tuple(range(len(window))), faults=(fault,), usage=usage)
            found["faults"] = [fault.kind for fault in reply.faults]
        return Step(self.turns + 1, window, reply, perf_counter() - start, judge)

    def ranking(self, blend: float, blend_by: BlendBy = "rank") -> Ranking:
        """The ranking as it is now."""
        own = own_scores(self.policy, self.steps, self.order)
        order, values = self._blended(own, blend, blend_by)
        rationales = self._latest(lambda reply: reply.rationales)
        confidence = self._latest(lambda reply: reply.confidence)
        faults = _merged([*self.faults, *(f for step in self.steps for f in step.reply.faults)])
        n, lowest = len(order), min(values.values(), default=0.0)
        ranked = (
            Ranked(
                passage=self.task.candidates[position],
                rank=rank,
                was=position + 1,
                score=values.get(position, lowest) if values else 1 - (rank - 1) / n,
                scored=position in values,
                rationale=rationales.get(position),
                confidence=confidence.get(position),
                relevance=unit_score(own[position], self.policy.scale) if position in own else None,
            )
            for rank, position in enumerate(order, 1)
        )
        usage = sum((step.reply.usage for step in self.steps), Usage())
        return Ranking(
            run=self.task.run,
            query=self.task.query,
            instruction=self.task.instruction,
            policy=self.policy.fingerprint,
            schedule=self.schedule,
            passages=tuple(ranked),
            steps=tuple(self.steps),
            faults=faults,
            partial=self._unjudged or any(f.kind in ("deadline", "failed") for f in faults),
            usage=replace(usage, turns=self.turns, seconds=self.seconds),
            blend=blend,
            blend_by=blend_by,
            judges=tuple(one.name for one in self.judges) if len(self.judges) > 1 else (),
        )

    def _blended(
        self, own: dict[int, float], blend: float, by: BlendBy
    ) -> tuple[Window, dict[int, float]]:
        """The final order, and the scores behind it by position."""
        if len(self.judges) > 1 and not blend:
            return self.order, own
        complete = len(own) == len(self.order)
        scores = [own[p] for p in range(len(own))] if complete else None
        given = [one.score or 0.0 for one in self.task.candidates] if by == "score" else None
        order, values = blended_order(self.order, scores, blend, given)
        return order, dict(enumerate(values or ()))

    def _latest(self, part: Callable[[Reply], Sequence[T]]) -> dict[int, T]:
        """A part of the latest reply about each position."""
        latest: dict[int, T] = {}
        for step in self.steps:
            latest.update(zip(step.window, part(step.reply), strict=False))
        return latest


def _ended_from_outside(error: BaseException) -> bool:
    """Whether this task itself was cancelled, not only something it awaits."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and bool(task and task.cancelling())


def _validated(reply: Reply, ids: Sequence[str]) -> Reply:
    """The reply checked against the protocol; what does not fit is dropped, with a fault."""
    n = len(ids)
    wrong = []
    if sorted(reply.order) != list(range(n)):
        reply, wrong = replace(reply, order=tuple(range(n)), scores=None), ["order"]
    scores = reply.scores
    if scores is not None and not (len(scores) == n and all(map(math.isfinite, scores))):
        reply, wrong = replace(reply, scores=None), [*wrong, "scores"]
    if len(reply.rationales) not in (0, n):
        reply, wrong = replace(reply, rationales=()), [*wrong, "rationales"]
    if len(reply.confidence) not in (0, n):
        reply, wrong = replace(reply, confidence=()), [*wrong, "confidence"]
    if not wrong:
        return reply
    fault = Fault("invalid", tuple(ids), f"the policy's {' and '.join(wrong)} did not fit")
    return replace(reply, faults=(*reply.faults, fault))


def _merged(faults: Iterable[Fault]) -> tuple[Fault, ...]:
    """Equal faults of several windows as one, with the ids of all."""
    ids: dict[tuple[str, str], dict[str, None]] = {}
    for fault in faults:
        ids.setdefault((fault.kind, fault.detail), {}).update(dict.fromkeys(fault.ids))
    return tuple(Fault(kind, tuple(of), detail) for (kind, detail), of in ids.items())
