import asyncio
import errno
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from rearank_agent import (
    Fault,
    InputError,
    Passage,
    PolicyError,
    Reply,
    Reranker,
    SetupError,
    policy,
)
from rearank_agent.policies.cached import Cached
from rearank_agent.policies.votes import Votes
from rearank_agent.store import Store
from rearank_agent.types import Rationale, Task, Usage

PASSAGES = tuple(Passage(c, f"text {c}") for c in "abcd")
TASK = Task("run", "query", candidates=PASSAGES)
ALL = (0, 1, 2, 3)


class Judge:
    """A policy with a window; a function of the passages' ids gives its replies."""

    name = "judge"
    fingerprint = "judge 1"
    scores = False
    scale = None
    blend = 0.0
    window = 20

    def __init__(self, reply_of):
        self.reply = reply_of
        self.seen = []

    async def judge(self, task, window):
        ids = task.ids(window)
        self.seen.append("".join(ids))
        reply = self.reply(ids, len(self.seen))
        if isinstance(reply, Exception):
            raise reply
        return reply


def ranked(best):
    """A reply: this order of ids, wherever they are in the window."""

    def reply_of(ids, call):
        order = tuple(ids.index(i) for i in best)
        rationales = tuple(Rationale(f"{i} is fine") for i in ids)
        fault = Fault("cut", (ids[0],), "short")
        return Reply(order, None, rationales, (), "thought", (fault,), Usage(calls=1))

    return reply_of


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "deep" / "replies.sqlite")


async def test_a_cached_reply_costs_nothing(store):
    judge = Judge(ranked("dcba"))
    first = await Cached(judge, store).judge(TASK, ALL)
    again = await Cached(judge, store).judge(TASK, ALL)
    assert again == replace(first, usage=Usage(hits=1))
    assert judge.seen == ["abcd"]


async def test_ids_do_not_count_but_are_the_request_s_own(store):
    judge = Judge(ranked("dcba"))
    await Cached(judge, store).judge(TASK, ALL)
    other = Task("other", "query", candidates=tuple(replace(p, id=p.id * 2) for p in PASSAGES))
    again = await Cached(judge, store).judge(other, ALL)
    assert again.faults == (Fault("cut", ("aa",), "short"),)
    assert judge.seen == ["abcd"]


@pytest.mark.parametrize(
    ("task", "window", "fingerprint"),
    [
        (replace(TASK, query="other"), ALL, "judge 1"),
        (replace(TASK, instruction="other"), ALL, "judge 1"),
        (replace(TASK, candidates=(*PASSAGES[:3], Passage("d", "other"))), ALL, "judge 1"),
        (
            replace(TASK, candidates=(*PASSAGES[:3], Passage("d", "text d", "title"))),
            ALL,
            "judge 1",
        ),
        (TASK, (1, 0, 2, 3), "judge 1"),
        (TASK, ALL, "judge 2"),
    ],
)
async def test_another_key_asks_the_policy(store, task, window, fingerprint):
    judge = Judge(ranked("dcba"))
    await Cached(judge, store).judge(TASK, ALL)
    judge.fingerprint = fingerprint
    await Cached(judge, store).judge(task, window)
    assert len(judge.seen) == 2


def test_the_same_question_again_makes_no_calls(store):
    judge = Judge(lambda ids, call: Reply(tuple(range(len(ids)))[::-1], usage=Usage(calls=1)))
    reranker = Reranker(Cached(judge, store), schedule="sliding:20:10")
    texts = [f"passage {i}" for i in range(100)]
    first, again = (reranker.rerank_sync("q", texts) for _ in range(2))
    assert (first.usage.calls, first.usage.hits) == (9, 0)
    assert (again.usage.calls, again.usage.hits) == (0, 9)
    assert again.passages == first.passages
    assert len(judge.seen) == 9


async def test_replaying_fails_on_a_miss(store):
    judge = Judge(ranked("dcba"))
    with pytest.raises(
        PolicyError, match=r"replaying, and no reply is cached in .*replies\.sqlite"
    ):
        await Cached(judge, store, replay=True).judge(TASK, ALL)
    await Cached(judge, store).judge(TASK, ALL)
    reply = await Cached(judge, store, replay=True).judge(TASK, ALL)
    assert (reply.order, reply.usage) == ((3, 2, 1, 0), Usage(hits=1))


async def test_an_error_is_not_cached(store):
    judge = Judge(lambda ids, call: PolicyError("busy") if call == 1 else Reply((3, 2, 1, 0)))
    with pytest.raises(PolicyError, match="busy"):
        await Cached(judge, store).judge(TASK, ALL)
    assert (await Cached(judge, store).judge(TASK, ALL)).order == (3, 2, 1, 0)


async def test_a_store_that_cannot_be_used_is_a_fault(store):
    store.path.parent.mkdir()
    store.path.write_bytes(b"this is no database" * 100)
    reply = await Cached(Judge(ranked("dcba")), store).judge(TASK, ALL)
    assert reply.order == (3, 2, 1, 0)
    assert [fault.kind for fault in reply.faults] == ["cut", "cache"]
    assert "file is not a database; if it is damaged, delete it" in reply.faults[1].detail
    with pytest.raises(PolicyError, match="replaying, and the store"):
        await Cached(Judge(ranked("dcba")), store, replay=True).judge(TASK, ALL)


def forbidden(*_, **__):
    raise PermissionError(errno.EACCES, "Permission denied")


@pytest.fixture(params=["may not be looked into", "a file is in its place", "read-only"])
def unusable(request, tmp_path, monkeypatch):
    """A store in a folder that cannot be used, as it is for whoever is not root."""
    store = Store(tmp_path / "cache" / "replies.sqlite")
    if request.param == "a file is in its place":
        store.path.parent.touch()
    elif request.param == "read-only":
        monkeypatch.setattr(Path, "mkdir", forbidden)
    else:
        monkeypatch.setattr(Path, "exists", forbidden)
        monkeypatch.setattr(Path, "touch", forbidden)
    return store


async def test_a_folder_that_cannot_be_used_does_not_keep_the_policy_from_being_asked(unusable):
    reply = await Cached(Judge(ranked("dcba")), unusable).judge(TASK, ALL)
    assert reply.order == (3, 2, 1, 0)
    assert [fault.kind for fault in reply.faults] == ["cut", "cache"]
    assert reply.faults[1].detail.startswith(f"the store {unusable.path} cannot be used: ")


async def test_a_reply_without_an_answer_is_not_cached(store):
    def reply_of(ids, call):
        faults = (Fault("unreadable", ids, "no answer"),) if call == 1 else ()
        return Reply((0, 1, 2, 3) if call == 1 else (3, 2, 1, 0), faults=faults)

    cached = Cached(Judge(reply_of), store)
    assert (await cached.judge(TASK, ALL)).order == (0, 1, 2, 3)
    assert (await cached.judge(TASK, ALL)).order == (3, 2, 1, 0)


async def test_a_cached_reply_of_another_shape_is_asked_anew(store):
    cached = Cached(Judge(ranked("dcba")), store)
    store.put(cached._key(TASK, ALL), '{"kind": "reply", "version": 99}')
    reply = await cached.judge(TASK, ALL)
    assert reply.order == (3, 2, 1, 0)


@pytest.mark.parametrize("scale", [None, 10.0])
def test_a_wrapper_has_the_scale_of_what_it_wraps(store, scale):
    judge = Judge(ranked("abcd"))
    judge.scale = scale
    assert (Cached(judge, store).scale, Votes(judge, 2).scale) == (scale, scale)


@pytest.mark.parametrize("name", ["embedded", "lexical", "first-stage"])
def test_policies_of_whole_requests_cannot_be_wrapped(name, store):
    with pytest.raises(InputError, match="ranks by the whole request"):
        Cached(policy(name), store)
    with pytest.raises(InputError, match="ranks by the whole request"):
        Votes(policy(name), 3)


async def test_votes_see_the_window_in_other_orders_and_agree():
    judge = Judge(ranked("cabd"))
    reply = await Votes(judge, 3).judge(TASK, ALL)
    assert reply.order == (2, 0, 1, 3)
    assert reply.confidence == (1.0, 1.0, 1.0, 1.0)
    assert reply.rationales == tuple(Rationale(f"{c} is fine") for c in "abcd")
    assert reply.usage.calls == 3
    assert reply.scores is None
    assert judge.seen[0] == "abcd"
    assert len(set(judge.seen)) == 3
    again = Judge(ranked("cabd"))
    await Votes(again, 3).judge(TASK, ALL)
    assert again.seen == judge.seen, "the shuffles are seeded"


async def test_votes_that_differ_merge_by_mean_rank():
    orders = ["bacd", "abcd", "abdc"]
    reply = await Votes(Judge(lambda ids, call: ranked(orders[call - 1])(ids, call)), 3).judge(
        TASK, ALL
    )
    assert reply.order == (0, 1, 2, 3)
    # each passage has 3 others in 3 votes; a and b changed places once, c and d once
    assert reply.confidence == pytest.approx((8 / 9, 8 / 9, 8 / 9, 8 / 9))


async def test_votes_of_scores_are_averaged():
    def reply_of(ids, call):
        scores = tuple({"a": 1.0, "b": 9.0 - call, "c": 5.0, "d": 0.0}[i] for i in ids)
        order = sorted(range(4), key=lambda i: -scores[i])
        return Reply(tuple(order), scores)

    reply = await Votes(Judge(reply_of), 2).judge(TASK, ALL)
    assert (reply.order, reply.scores) == ((1, 2, 0, 3), (1.0, 7.5, 5.0, 0.0))


async def test_a_reply_without_an_answer_is_no_vote():
    def reply_of(ids, call):
        if call == 2:
            fault = Fault("unreadable", ids, "no answer could be read; the window keeps its order")
            return Reply((0, 1, 2, 3), faults=(fault,))
        return PolicyError("busy") if call == 3 else ranked("dcba")(ids, call)

    reply = await Votes(Judge(reply_of), 4).judge(TASK, ALL)
    assert reply.order == (3, 2, 1, 0)
    assert [fault.kind for fault in reply.faults if fault.kind != "cut"] == ["votes"]
    assert reply.faults[-1] == Fault("votes", tuple("abcd"), "2 of 4 votes count; busy")


async def test_no_vote_at_all():
    with pytest.raises(PolicyError, match="busy"):
        await Votes(Judge(lambda ids, call: PolicyError("busy")), 2).judge(TASK, ALL)
    silent = Judge(lambda ids, call: Reply((0, 1, 2, 3), faults=(Fault("unreadable", ids),)))
    reply = await Votes(silent, 2).judge(TASK, ALL)
    assert reply.order == (0, 1, 2, 3)
    assert "unreadable" in {fault.kind for fault in reply.faults}
    with pytest.raises(InputError, match="2 votes or more"):
        Votes(silent, 1)


def test_confidence_reaches_the_ranking(store):
    reranker = Reranker(Votes(Cached(Judge(ranked("dcba")), store), 2))
    ranking = reranker.rerank_sync("query", PASSAGES)
    assert [p.confidence for p in ranking.passages] == [1.0] * 4
    assert ranking.policy == "judge 1 votes=2"


def test_the_store_keeps_replaces_and_is_private(store):
    assert store.get("a") is None
    assert not store.path.exists()
    store.put("a", "one")
    store.put("a", "two")
    assert (store.get("a"), Store(store.path).get("a")) == ("two", "two")
    assert store.path.stat().st_mode & 0o777 == 0o600


def test_the_store_is_bounded_and_drops_the_oldest(tmp_path):
    store = Store(tmp_path / "s.sqlite", max_bytes=200_000)
    for i in range(100):
        store.put(str(i), "x" * 10_000)
    kept = [i for i in range(100) if store.get(str(i))]
    assert kept == list(range(kept[0], 100))
    assert 10 <= len(kept) <= 20
    store.put("huge", "x" * 1_000_000)
    assert store.get("huge")


WRITER = """
import sys
from pathlib import Path
from rearank_agent.store import Store
store = Store(Path(sys.argv[1]))
print("ready", flush=True)
number = 0
while True:
    store.put(f"{sys.argv[2]}-{number}", "text " * 2000)
    number += 1
    if number == int(sys.argv[3]):
        break
"""


def writer(store, name, times):
    command = [sys.executable, "-c", WRITER, str(store.path), name, str(times)]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


def test_processes_write_side_by_side(store):
    writers = [writer(store, name, 50) for name in "abc"]
    assert [w.wait(30) for w in writers] == [0, 0, 0]
    for w in writers:
        w.stdout.close()
    assert all(store.get(f"{name}-{i}") == "text " * 2000 for name in "abc" for i in range(50))


def test_a_writer_waits_for_another(store):
    store.put("a", "one")
    other = sqlite3.connect(store.path, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    ends = threading.Timer(0.5, other.rollback)
    ends.start()
    store.put("a", "two")
    ends.join()
    other.close()
    assert store.get("a") == "two"


def test_a_new_store_waits_for_a_writer_too(store):
    store.path.parent.mkdir(parents=True, exist_ok=True)
    other = sqlite3.connect(store.path, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")  # SQLite does not wait for it when the journal mode changes
    ends = threading.Timer(0.5, other.rollback)
    ends.start()
    store.put("a", "one")
    ends.join()
    other.close()
    assert store.get("a") == "one"


def test_a_store_that_was_deleted_is_made_again(store):
    store.put("a", "one")
    store.path.unlink()
    assert store.get("a") is None
    store.put("a", "two")
    assert Store(store.path).get("a") == "two"


def test_a_killed_writer_leaves_complete_texts(store):
    killed = writer(store, "a", 0)
    killed.stdout.readline()
    time.sleep(0.3)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    killed.stdout.close()
    rows = sqlite3.connect(store.path)
    texts = {row[0] for row in rows.execute("SELECT text FROM kept")}
    rows.close()
    assert texts == {"text " * 2000}
    store.put("b", "still works")
    assert store.get("b") == "still works"


def test_a_store_in_a_place_that_cannot_be_written():
    with pytest.raises(SetupError, match="cannot be used"):
        Store(__import__("pathlib").Path("/proc/nowhere/s.sqlite")).put("a", "b")


def test_cached_replies_are_json(store):
    asyncio.run(Cached(Judge(ranked("dcba")), store).judge(TASK, ALL))
    rows = sqlite3.connect(store.path)
    ((text,),) = rows.execute("SELECT text FROM kept").fetchall()
    rows.close()
    assert json.loads(text)["order"] == [3, 2, 1, 0]
