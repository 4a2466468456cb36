"""Fake policies for tests of their callers: slow, failing, or with faults."""

import asyncio

from rearank_agent import Fault, Reply


class Judge:
    """Ranks longer passages first; an order only, 20 at a time."""

    name = fingerprint = "judge"
    scores, scale, blend, window = False, None, 0.0, 20

    async def judge(self, task, window):
        lengths = [len(task.candidates[position].text) for position in window]
        return Reply(tuple(sorted(range(len(window)), key=lambda local: -lengths[local])))


class Slow(Judge):
    """Waits in every window, and counts how each ended."""

    def __init__(self, seconds):
        self.seconds = seconds
        self.begun = self.done = self.cancelled = 0

    async def judge(self, task, window):
        self.begun += 1
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        self.done += 1
        return await super().judge(task, window)


class Down(Judge):
    """A model whose server is not there."""

    async def judge(self, task, window):
        raise ConnectionError("connection refused")


class Faulty(Judge):
    """Replies with a fault in every window."""

    async def judge(self, task, window):
        reply = await super().judge(task, window)
        fault = Fault("cut", task.ids(window), "passages were cut")
        return Reply(reply.order, faults=(fault,))
