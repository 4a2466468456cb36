"""Threads that requests share."""

import asyncio
import threading

import pytest

from rearank_agent import Reranker
from rearank_agent.policies.embedded.policy import Embedded
from rearank_agent.queueing.pool import FairPool
from rearank_agent.queueing.work import Work


@pytest.fixture
def held():
    """A pool of one thread that is busy until the event is set."""
    pool, free, busy = FairPool(1, "test"), threading.Event(), threading.Event()

    def hold():
        busy.set()
        assert free.wait(60)

    async def go():
        holding = pool.run(Work(1), hold)
        await asyncio.to_thread(busy.wait, 60)
        return holding

    yield pool, go, free
    free.set()


async def test_small_requests_pass_large_ones(held):
    pool, hold, free = held
    done, large, small = [], Work(4), Work(2)
    holding = await hold()
    waiting = [pool.run(large, lambda: done.append("large")) for _ in range(4)]
    waiting += [pool.run(small, lambda: done.append("small")) for _ in range(2)]
    free.set()
    await asyncio.gather(holding, *waiting)
    assert done == ["small"] * 2 + ["large"] * 4
    assert (large.left, small.left) == (0, 0)


async def test_what_is_cancelled_never_begins_and_results_and_errors_come_back(held):
    pool, hold, free = held
    done, work = [], Work(3)
    holding = await hold()
    cancelled = pool.run(work, lambda: done.append("cancelled"))
    result, error = pool.run(work, lambda: 7), pool.run(work, lambda: 1 / 0)
    cancelled.cancel()
    await asyncio.sleep(0)  # the loop tells the threads at its next turn
    free.set()
    await holding
    assert await result == 7
    with pytest.raises(ZeroDivisionError):
        await error
    assert done == []


async def test_a_request_that_others_kept_from_beginning_says_so(held):
    pool, hold, free = held
    policy = Embedded()
    policy._scorer._pool = pool
    await hold()
    ranking = await Reranker(policy).rerank("q", ["a", "b"], deadline=0.05)
    assert [(fault.kind, fault.detail) for fault in ranking.faults] == [
        ("deadline", "0 turns were done after 0.05 seconds"),
        ("busy", "other requests were first; it was not begun"),
    ]
    assert ranking.partial
    free.set()
    ranking = await Reranker(policy).rerank("q", ["a", "b"])
    assert ranking.faults == ()


def test_loops_of_several_threads_share_a_pool():
    pool, found = FairPool(2, "test"), []

    async def calls():
        work = Work(50)
        found.append(await asyncio.gather(*(pool.run(work, lambda: 1) for _ in range(50))))

    threads = [threading.Thread(target=asyncio.run, args=(calls(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == [[1] * 50] * 4
