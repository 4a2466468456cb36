import asyncio
import threading

import pytest

from rearank_agent.llm import limits
from rearank_agent.llm.limits import Cap, process_cap, with_retries
from rearank_agent.queueing.work import Work


async def test_a_small_request_is_not_starved_by_a_large_one():
    cap, done = Cap(2), []
    works = {"large": Work(100), "small": Work(2)}

    async def call(name):
        async with cap.slot(works[name]):
            await asyncio.sleep(0)
            done.append(name)

    large = [asyncio.create_task(call("large")) for _ in range(20)]
    await asyncio.sleep(0)
    small = [asyncio.create_task(call("small")) for _ in range(2)]
    await asyncio.gather(*large, *small)
    assert done[:4].count("small") == 2
    assert len(done) == 22


async def test_no_more_than_the_cap_are_in_flight():
    cap, flying, most = Cap(3), 0, 0

    async def call(work):
        nonlocal flying, most
        async with cap.slot(work):
            flying += 1
            most = max(most, flying)
            await asyncio.sleep(0.001)
            flying -= 1

    works = [Work(i) for i in range(4)]
    await asyncio.gather(*(call(works[i % 4]) for i in range(40)))
    assert (most, flying) == (3, 0)


async def test_a_cancelled_wait_passes_its_slot_on():
    cap = Cap(1)

    async def call(wait):
        async with cap.slot(Work(1)):
            await wait()

    hold = asyncio.Event()
    first = asyncio.create_task(call(hold.wait))
    await asyncio.sleep(0)
    second = asyncio.create_task(call(hold.wait))
    third = asyncio.create_task(call(hold.wait))
    await asyncio.sleep(0)
    second.cancel()
    hold.set()
    await asyncio.wait_for(asyncio.gather(first, third), 5)
    assert second.cancelled()
    async with asyncio.timeout(5), cap.slot(Work(1)):
        pass


async def test_a_slot_that_comes_with_a_cancel_is_not_lost():
    cap = Cap(1)
    for _ in range(50):
        await cap._enter(Work(1))
        waiting = asyncio.create_task(cap._enter(Work(1)))
        await asyncio.sleep(0)
        cap._leave()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert cap._in_flight == 0


def test_one_cap_holds_for_all_threads_and_loops():
    cap, flying, most, lock = Cap(2), 0, 0, threading.Lock()

    async def call(work):
        nonlocal flying, most
        async with cap.slot(work):
            with lock:
                flying += 1
                most = max(most, flying)
            await asyncio.sleep(0.002)
            with lock:
                flying -= 1

    async def calls(work):
        await asyncio.gather(*(call(work) for _ in range(20)))

    threads = [threading.Thread(target=asyncio.run, args=(calls(Work(i)),)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert not any(thread.is_alive() for thread in threads)
    assert (most, flying) == (2, 0)


def test_a_loop_that_ended_while_it_waited_takes_no_slot():
    cap = Cap(1)
    asyncio.run(cap._enter(Work(1)))
    dead = asyncio.new_event_loop()
    waiting = dead.create_task(cap._enter(Work(1)))
    dead.run_until_complete(asyncio.sleep(0))
    waiting.cancel()
    waiting._log_destroy_pending = False
    dead.close()
    cap._leave()
    assert cap._in_flight == 0


async def test_only_what_may_help_is_retried():
    calls = 0

    async def call():
        nonlocal calls
        calls += 1
        raise ValueError(calls)

    with pytest.raises(ValueError, match="4"):
        await with_retries(call, lambda error, failures: 0.0)
    calls = 0
    with pytest.raises(ValueError, match="2"):
        await with_retries(call, lambda error, failures: None if failures else 0.0)


def test_the_environment_sets_the_cap(monkeypatch):
    monkeypatch.setattr(limits, "_cap", [])
    monkeypatch.setenv("REARANK_CALLS", "7")
    assert process_cap().max_calls == 7
