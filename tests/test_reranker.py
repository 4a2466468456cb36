import asyncio
import concurrent.futures
import inspect
import math
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rearank_agent import (
    Fault,
    InputError,
    Passage,
    PolicyError,
    Ranking,
    Rationale,
    Reply,
    Reranker,
    Usage,
    schedules,
)  # fmt: skip
from rearank_agent.policies.auto_schedule import auto
from rearank_agent.reranker import run_sync


class ByLength:
    """A policy for tests: the longer the text the better. `act` replaces its behaviour."""

    name = "by-length"
    fingerprint = "by-length:1"
    scale = None
    blend = 0.0
    window = None

    def __init__(self, scores=True, act=None):
        self.scores = scores
        self.act = act
        self.windows = []

    async def judge(self, task, window):
        self.windows.append(window)
        if self.act:
            reply = self.act(task, window)
            reply = await reply if asyncio.iscoroutine(reply) else reply
            if reply is not None:
                return reply
        lengths = [float(len(task.candidates[position].text)) for position in window]
        order = sorted(range(len(window)), key=lambda i: -lengths[i])
        return Reply(
            tuple(order),
            tuple(lengths) if self.scores else None,
            tuple(Rationale(f"{length:g} characters") for length in lengths),
            usage=Usage(calls=1, answer_tokens=2),
        )


TEXTS = ["bb", "a", "dddd", "ccc"]


def test_a_complete_ranking():
    ranking = Reranker(ByLength()).rerank_sync("which is longest", TEXTS, instruction=" long ")
    assert ranking.ids == ("3", "4", "1", "2")
    assert [(p.rank, p.was, p.score, p.scored) for p in ranking.passages] == [
        (1, 3, 4.0, True), (2, 4, 3.0, True), (3, 1, 2.0, True), (4, 2, 1.0, True),
    ]  # fmt: skip
    assert ranking.passages[0].rationale == Rationale("4 characters")
    assert ranking.query == "which is longest"
    assert ranking.instruction == "long"
    assert ranking.policy == "by-length:1"
    assert ranking.schedule == "whole"
    assert ranking.faults == ()
    assert ranking.partial is False
    assert [step.window for step in ranking.steps] == [(0, 1, 2, 3)]
    assert (ranking.usage.calls, ranking.usage.turns, ranking.usage.answer_tokens) == (1, 1, 2)
    assert ranking.usage.seconds > 0
    assert Ranking.from_json(ranking.to_json()) == ranking


def test_an_order_alone_gives_scores_by_rank():
    ranking = Reranker(ByLength(scores=False), schedule="sliding:2:1").rerank_sync("q", TEXTS)
    assert ranking.ids[0] == "3"
    assert [p.score for p in ranking.passages] == [1.0, 0.75, 0.5, 0.25]
    assert {p.scored for p in ranking.passages} == {False}
    assert [step.turn for step in ranking.steps] == [1, 2, 3]
    assert ranking.usage.turns == 3


@settings(max_examples=60)
@given(st.lists(st.text(max_size=9), min_size=1, max_size=130), st.sampled_from(
    ["auto", *schedules.SCHEDULES]), st.floats(0, 2))  # fmt: skip
def test_every_passage_comes_back_once(texts, schedule, blend):
    clean = [text.encode(errors="ignore").decode() for text in texts]
    ranking = Reranker(ByLength(), schedule=schedule).rerank_sync("q", clean, blend=blend)
    assert sorted(ranking.ids, key=int) == [str(i) for i in range(1, len(texts) + 1)]
    scores = [p.score for p in ranking.passages]
    assert scores == sorted(scores, reverse=True)
    if not blend:
        lengths = [len(p.text) for p in ranking.passages]
        assert lengths == sorted(lengths, reverse=True)


@given(st.permutations([Passage(c, c * (i + 1)) for i, c in enumerate("abcdefg")]))
def test_shuffling_passages_with_ids_changes_nothing(passages):
    assert Reranker(ByLength()).rerank_sync("q", passages).ids == tuple("gfedcba")


def test_blend_by_hand():
    # scores 1, 2, 3 for first-stage ranks 1, 2, 3
    ranking = Reranker(ByLength()).rerank_sync("q", ["a", "bb", "ccc"], blend=0.5)
    z = math.sqrt(1.5)
    logs = [math.log(2), math.log(3), math.log(4)]
    mean = sum(logs) / 3
    spread = math.sqrt(sum((x - mean) ** 2 for x in logs) / 3)
    expected = [-z - 0.5 * (logs[0] - mean) / spread, -0.5 * (logs[1] - mean) / spread,
                z - 0.5 * (logs[2] - mean) / spread]  # fmt: skip
    assert ranking.ids == ("3", "2", "1")
    assert [p.score for p in ranking.passages] == pytest.approx(expected[::-1])
    heavy = Reranker(ByLength()).rerank_sync("q", ["a", "bb", "ccc"], blend=3)
    assert heavy.ids == ("1", "2", "3")


def test_blend_of_an_order_alone_and_of_equals():
    order_only = Reranker(ByLength(scores=False), schedule="whole")
    assert order_only.rerank_sync("q", ["a", "bb", "ccc"], blend=0.5).ids == ("3", "2", "1")
    assert order_only.rerank_sync("q", ["a", "bb", "ccc"], blend=2).ids == ("1", "2", "3")
    assert Reranker(ByLength()).rerank_sync("q", ["aa", "bb", "cc"], blend=1).ids == ("1", "2", "3")
    assert Reranker(ByLength()).rerank_sync("q", ["only"], blend=1).ids == ("1",)


def test_auto():
    assert auto(ByLength(), 100).name == "whole"
    assert auto(ByLength(), 101).name == "batches:100"
    assert auto(ByLength(scores=False), 100).name == "tournament:20"


def test_batches_change_nothing_but_the_turns():
    texts = ["x" * ((i * 37) % 251) for i in range(250)]
    whole = Reranker(ByLength(), schedule="whole").rerank_sync("q", texts)
    batched = Reranker(ByLength()).rerank_sync("q", texts)
    assert batched.passages == whole.passages
    assert (whole.usage.turns, batched.usage.turns) == (1, 3)


def test_progress_is_reported_after_every_turn():
    reported = []
    Reranker(ByLength(), schedule="sliding").rerank_sync(
        "q", ["x"] * 35, progress=lambda *done: reported.append(done)
    )
    assert reported == [(1, 3), (2, 3), (3, 3)]


def test_the_deadline_gives_the_best_order_so_far():
    async def slow_after_two(task, window):
        if len(policy.windows) > 2:
            await asyncio.sleep(30)

    policy = ByLength(act=slow_after_two)
    texts = ["x" * i for i in range(5)]
    start = time.perf_counter()
    reranker = Reranker(policy, schedule="batches:1", deadline=0.2)
    ranking = reranker.rerank_sync("q", texts)
    assert time.perf_counter() - start < 5
    assert ranking.partial is True
    assert ranking.ids == ("2", "1", "3", "4", "5"), "the two that were ranked, then the others"
    assert [p.score for p in ranking.passages] == pytest.approx([1.0, 0.8, 0.6, 0.4, 0.2])
    assert {p.scored for p in ranking.passages} == {False}
    assert ranking.faults == (Fault("deadline", (), "2 turns were done after 0.2 seconds"),)


def test_a_failing_window_keeps_its_order_and_says_why():
    def fail_on_the_first(task, window):
        if 0 in window:
            raise PolicyError("the server said 500")

    ranking = Reranker(ByLength(act=fail_on_the_first), schedule="groups:2").rerank_sync("q", TEXTS)
    assert ranking.ids == ("3", "4", "1", "2")
    assert ranking.partial is True
    assert ranking.faults == (Fault("failed", ("1", "2"), "PolicyError: the server said 500"),)


def test_a_policy_s_own_timeout_is_a_failure_not_the_deadline():
    def late(task, window):
        raise TimeoutError("no answer in 5 s")

    ranking = Reranker(ByLength(act=late), deadline=60).rerank_sync("q", TEXTS)
    assert ranking.ids == ("1", "2", "3", "4")
    assert [fault.kind for fault in ranking.faults] == ["failed"]


@pytest.mark.parametrize(
    ("reply", "ids", "detail"),
    [
        (Reply((0, 0, 1, 2)), ("1", "2", "3", "4"), "the policy's order did not fit"),
        (Reply((3, 2)), ("1", "2", "3", "4"), "the policy's order did not fit"),
        (Reply((3, 2, 1, 0), (1.0, 2.0)), ("4", "3", "2", "1"), "the policy's scores did not fit"),
        (Reply((3, 2, 1, 0), (math.nan,) * 4), ("4", "3", "2", "1"), "scores did not fit"),
        (Reply((3, 2, 1, 0), None, (Rationale(),)), ("4", "3", "2", "1"), "rationales did not"),
    ],
)
def test_an_invalid_reply_is_repaired_with_a_fault(reply, ids, detail):
    ranking = Reranker(ByLength(act=lambda task, window: reply)).rerank_sync("q", TEXTS)
    assert ranking.ids == ids
    assert [fault.kind for fault in ranking.faults] == ["invalid"]
    assert detail in ranking.faults[0].detail
    assert ranking.faults[0].ids == ("1", "2", "3", "4")


def test_the_same_fault_of_many_windows_is_one():
    def cut(task, window):
        faults = (Fault("cut", task.ids(window[:1]), "short"), Fault("instruction"))
        return Reply(tuple(range(len(window))), faults=faults)

    ranking = Reranker(ByLength(scores=False, act=cut), schedule="sliding:2:1").rerank_sync(
        "q", ["a", "b", "c"]
    )
    assert ranking.faults == (Fault("cut", ("2", "1"), "short"), Fault("instruction"))


@pytest.mark.parametrize(
    ("query", "passages", "message"),
    [
        ("", ["x"], "the query is empty"),
        (" \n", ["x"], "the query is empty"),
        (None, ["x"], "the query must be a string, not NoneType"),
        ("\udcff", ["x"], "half a character"),
        ("q", [], "there are no passages"),
        ("q", [Passage("a", ""), Passage("a", "")], "two passages have the id 'a'"),
    ],
)
def test_bad_requests(query, passages, message):
    with pytest.raises(InputError, match=message):
        Reranker(ByLength()).rerank_sync(query, passages)


def test_bad_settings():
    with pytest.raises(InputError, match="needs scores that compare"):
        Reranker(ByLength(scores=False), schedule="groups")
    with pytest.raises(InputError, match="no schedule is called 'all'"):
        Reranker(ByLength(), schedule="all")
    for deadline in (0, -1, math.nan, math.inf):
        with pytest.raises(InputError, match="above 0"):
            Reranker(ByLength(), deadline=deadline)
    for blend in (-1, math.nan, math.inf):
        with pytest.raises(InputError, match="blend must be 0 or more"):
            Reranker(ByLength()).rerank_sync("q", TEXTS, blend=blend)
    with pytest.raises(InputError, match="no policy is called 'best'; there are: embedded"):
        Reranker("best")


async def test_rerank_sync_works_inside_a_running_loop():
    reranker = Reranker(ByLength())
    assert reranker.rerank_sync("q", TEXTS).ids == (await reranker.rerank("q", TEXTS)).ids


async def test_requests_run_side_by_side():
    async def wait(task, window):
        await asyncio.sleep(0.1)

    reranker = Reranker(ByLength(act=wait))
    start = time.perf_counter()
    rankings = await asyncio.gather(*(reranker.rerank("q", TEXTS) for _ in range(20)))
    assert time.perf_counter() - start < 1.5
    assert {ranking.ids for ranking in rankings} == {("3", "4", "1", "2")}
    assert len({ranking.run for ranking in rankings}) == 20


async def test_cancelling_a_request_cancels_its_windows():
    cancelled = []

    async def wait(task, window):
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            cancelled.append(window)
            raise

    request = asyncio.create_task(
        Reranker(ByLength(act=wait), schedule="groups:2").rerank("q", TEXTS)
    )
    await asyncio.sleep(0.05)
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    assert cancelled == [(0, 1), (2, 3)]


def test_an_error_inside_reaches_the_caller_and_leaves_the_loop_alive():
    async def fails():
        raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        run_sync(fails())
    assert run_sync(asyncio.sleep(0, "still alive")) == "still alive"


@pytest.mark.parametrize("begun", [False, True])
def test_an_interrupt_cancels_what_is_only_just_scheduled(monkeypatch, begun):
    """Ctrl-C between two lines of `run_sync`, as on a busy machine."""
    schedule, ended, started = asyncio.run_coroutine_threadsafe, [], threading.Event()

    async def work():
        started.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(True)

    def interrupted(coroutine, loop):
        futures.append(schedule(coroutine, loop))
        if begun:
            started.wait(10)
        raise KeyboardInterrupt

    futures = []
    monkeypatch.setattr(asyncio, "run_coroutine_threadsafe", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_sync(work())
    with pytest.raises(concurrent.futures.CancelledError):
        futures[0].result(10)
    assert ended == ([True] if started.is_set() else [])


def test_auto_asks_a_model_within_its_window():
    policy = ByLength()
    policy.window = 20
    assert auto(policy, 100).name == "groups:20"
    policy.scores, policy.window = False, 10
    assert auto(policy, 100).name == "tournament:10"


def slow(seconds):
    """A policy of orders whose every window takes this long."""

    async def wait(task, window):
        await asyncio.sleep(seconds)

    policy = ByLength(scores=False, act=wait)
    policy.window = 20
    return policy


def test_the_turns_that_fit_the_deadline_decide():
    texts = ["x" * (i * 37 % 101) for i in range(100)]
    free = Reranker(slow(0.01)).rerank_sync("q", texts)
    assert (free.usage.turns, free.partial, free.faults) == (4, False, ())
    tight = Reranker(slow(0.3), deadline=1.2).rerank_sync("q", texts)
    assert tight.usage.turns in (2, 3)
    assert tight.partial is False
    assert [fault.kind for fault in tight.faults] == ["narrowed"]
    assert tight.ids[:4] == free.ids[:4]


def test_the_time_of_earlier_turns_saves_the_first_turn():
    reranker = Reranker(slow(0.6), deadline=1.0)
    texts = ["x" * i for i in range(100)]
    first = reranker.rerank_sync("q", texts)
    assert (first.usage.turns, first.partial) == (1, True)
    again = reranker.rerank_sync("q", texts)
    assert (again.usage.turns, again.partial) == (1, False)
    assert again.faults == (
        Fault("depth", (), "there was time for the first 20 of 100 passages only"),
    )
    assert again.ids[0] == "20", "the longest of the first twenty"
    assert sorted(again.ids, key=int) == [str(i) for i in range(1, 101)]


def test_a_turn_cut_off_keeps_the_windows_that_were_ready():
    async def slow_with_a(task, window):
        if 0 in window:
            await asyncio.sleep(30)

    policy = ByLength(scores=False, act=slow_with_a)
    ranking = Reranker(policy, schedule="tournament:2", deadline=0.3).rerank_sync("q", TEXTS)
    assert ranking.ids == ("1", "4", "3", "2")
    assert [step.window for step in ranking.steps] == [(1, 3)]
    assert [fault.kind for fault in ranking.faults] == ["deadline"]
    assert ranking.usage.turns == 0


def test_a_policy_that_cancels_itself_is_a_failure():
    def cancelled(task, window):
        if 0 in window:
            raise asyncio.CancelledError

    ranking = Reranker(ByLength(act=cancelled), schedule="groups:2").rerank_sync("q", TEXTS)
    assert ranking.ids == ("3", "4", "1", "2")
    assert ranking.faults == (Fault("failed", ("1", "2"), "CancelledError: "),)
    assert ranking.partial is True


def test_a_policy_that_keeps_failing_ends_the_request():
    def fail(task, window):
        raise PolicyError("out of memory")

    policy = ByLength(scores=False, act=fail)
    ranking = Reranker(policy, schedule="sliding:2:1").rerank_sync("q", ["x"] * 50)
    assert (len(policy.windows), ranking.usage.turns, ranking.partial) == (1, 1, True)

    def fail_later(task, window):
        if len(flaky.windows) in (2, 4, 5):
            raise PolicyError("out of memory")

    flaky = ByLength(scores=False, act=fail_later)
    ranking = Reranker(flaky, schedule="sliding:2:1").rerank_sync("q", ["x"] * 50)
    assert (len(flaky.windows), ranking.partial) == (5, True)
    assert len(ranking.ids) == 50


async def test_a_request_without_one_answer_is_partial():
    def mute(ids, answers):
        kept = tuple(range(len(ids)))
        return Reply(
            kept, faults=() if answers else (Fault("unreadable", tuple(ids), "no answer"),)
        )

    for answered, partial in ((set(), True), ({2}, False)):
        calls = []

        def act(task, window, answered=answered, calls=calls):
            calls.append(window)
            return mute(task.ids(window), len(calls) in answered)

        policy = ByLength(act=act)
        policy.window = 2
        ranking = await Reranker(policy, schedule="sliding:2:1").rerank("q", list("abcd"))
        assert (ranking.partial, ranking.judged) == (partial, bool(answered))
        assert ranking.ids == ("1", "2", "3", "4")


class OneAtATime(ByLength):
    """Takes 50 ms for a window, and only one window at a time, as an encoder on one core."""

    def __init__(self):
        self.free, self.running, self.most = asyncio.Lock(), 0, 0
        super().__init__(act=self.wait)

    async def wait(self, task, window):
        self.running += 1
        self.most = max(self.most, self.running)
        async with self.free:
            await asyncio.sleep(0.05)
        self.running -= 1


async def test_each_of_many_requests_has_its_own_deadline():
    requests = [(f"query {at}", ["a", "b" * at]) for at in range(2, 12)]
    rankings = await Reranker(OneAtATime()).rerank_many(requests, deadline=0.3)
    assert [(one.query, one.ids, one.partial) for one in rankings] == [
        (f"query {at}", ("2", "1"), False) for at in range(2, 12)
    ]
    reranker = Reranker(OneAtATime())
    at_the_same_time = [reranker.rerank(*request, deadline=0.3) for request in requests]
    assert any(one.partial for one in await asyncio.gather(*at_the_same_time))


@pytest.mark.parametrize(("at_once", "most"), [(None, 1), (3, 3), (99, 6)])
async def test_a_few_of_many_requests_are_ranked_at_the_same_time(at_once, most):
    policy = OneAtATime()
    rankings = await Reranker(policy).rerank_many([("q", ["a"])] * 6, at_once=at_once)
    assert (len(rankings), policy.most) == (6, most)


def test_requests_that_wait_for_a_model_are_many_at_once():
    policy = ByLength(scores=False)
    assert Reranker(policy).at_once == 1
    policy.window = 20
    assert Reranker(policy).at_once == 16


def test_one_failing_request_does_not_lose_the_others():
    def own_passages():
        yield "a"
        raise OSError("the index is gone")

    requests = [
        ("q", ["a", "bb"]), ("", ["a"]), ("q", []), "q", ("q", own_passages()), ["r", ["cc", "d"]],
    ]  # fmt: skip
    first, *failed, last = Reranker(ByLength()).rerank_many_sync(requests)
    assert (first.ids, last.ids) == (("2", "1"), ("1", "2"))
    assert [(type(error), str(error)) for error in failed] == [
        (InputError, "the query is empty"),
        (InputError, "there are no passages to rank"),
        (InputError, "a request must be a pair of a query and its passages: 'q'"),
        (OSError, "the index is gone"),
    ]


def test_no_requests_and_none_at_once():
    assert Reranker(ByLength()).rerank_many_sync([]) == []
    with pytest.raises(InputError, match="at_once must be 1 or more: 0"):
        Reranker(ByLength()).rerank_many_sync([("q", ["a"])], at_once=0)


async def test_cancelling_many_requests_ends_those_in_flight():
    policy = OneAtATime()
    many = asyncio.create_task(Reranker(policy).rerank_many([("q", ["a"])] * 50, at_once=2))
    await asyncio.sleep(0.08)
    many.cancel()
    with pytest.raises(asyncio.CancelledError):
        await many
    begun = len(policy.windows)
    await asyncio.sleep(0.1)
    assert len(policy.windows) == begun < 50


@pytest.mark.parametrize("name", ["rerank", "rerank_many"])
def test_the_sync_twin_takes_the_same_arguments(name):
    twin = getattr(Reranker, f"{name}_sync")
    assert inspect.signature(twin) == inspect.signature(getattr(Reranker, name))
    assert (twin.__name__, inspect.iscoroutinefunction(twin)) == (f"{name}_sync", False)
    assert twin.__doc__.startswith(f"`{name}` without awaiting")


def test_a_deadline_of_one_request():
    async def slow(task, window):
        await asyncio.sleep(5)

    ranking = Reranker(ByLength(act=slow)).rerank_sync("q", TEXTS, deadline=0.05)
    assert (ranking.ids, ranking.partial) == (("1", "2", "3", "4"), True)
