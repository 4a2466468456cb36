"""A run that is interrupted, refused, truncated or failing loses nothing and hides nothing."""

import asyncio
import json
import os
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.policies import Judge
from helpers.small import QUERIES, beir
from rearank_agent import Reranker
from rearank_agent.data.beir import read_folder
from rearank_agent.data.first_stage import first_stage
from rearank_agent.errors import InputError, PolicyError, SetupError
from rearank_agent.policies.registry import policy
from rearank_agent.types import Ranking
from rearank_evals.runs.json_files import write_or_check
from rearank_evals.runs.run import System, run
from rearank_evals.runs.run_folder import RunFolder, folder_name
from rearank_evals.runs.trials import trials

MANY = {f"q{i}": f"where do flea eggs fall in room {i}" for i in range(12)}


class EveryThird(Judge):
    """Fails on the queries whose number is divisible by 3."""

    async def judge(self, task, window):
        if int(task.query.split()[-1]) % 3 == 0:
            raise ConnectionError("no answer")
        return await super().judge(task, window)


class Uneven(EveryThird):
    """Fails at once, and answers slowly."""

    async def judge(self, task, window):
        reply = await super().judge(task, window)
        await asyncio.sleep(0.05)
        return reply


class Gone(Judge):
    """Answers a number of times, then always fails."""

    def __init__(self, answers):
        self.answers = answers

    async def judge(self, task, window):
        self.answers -= 1
        if self.answers < 0:
            raise ConnectionError("connection refused")
        return await super().judge(task, window)


def many(folder):
    return read_folder(beir(folder, queries=MANY, qrels={q: {"eggs": 1} for q in MANY}))


def trial(folder, collection, judge=None, shuffles=0, **system):
    reranker = Reranker(judge or policy("lexical"))
    system = System("ours", reranker, **{"blend": 0.0} | system)
    first = System("first-stage", Reranker("first-stage"), 0.0)
    return list(
        trials(folder, collection, first_stage(collection, 100), [first, system], shuffles)
    )[1:]


class Seen(list):
    def __call__(self, ranking, resumed):
        self.append((ranking.run, resumed))


def records(one):
    return [json.loads(line) for line in one.saved.records.read_text().splitlines()]


async def test_a_record_a_query_and_a_run_in_their_order(tmp_path):
    (one,) = trial(tmp_path / "out", read_folder(beir(tmp_path / "fleas")))
    seen = Seen()
    assert await run(one, 2, seen) == []
    assert sorted(seen) == [(query, False) for query in QUERIES]
    rankings = {ranking.run: ranking for ranking in one.saved.rankings()}
    assert {q: r.query for q, r in rankings.items()} == QUERIES
    assert list(one.saved.read_run()) == list(QUERIES)
    assert one.saved.read_run() == {q: rankings[q].ids for q in QUERIES}
    assert rankings["q1"].ids[0] == "jump"
    assert one.saved.folder == tmp_path / "out/fleas/ours"


async def test_resuming_ranks_only_the_missing_queries(tmp_path):
    (one,) = trial(tmp_path / "out", many(tmp_path / "fleas"))
    await run(one, 1, Seen())
    whole, text = one.saved.read_run(), one.saved.records.read_bytes()
    kept = b"".join(text.splitlines(keepends=True)[:5])
    one.saved.records.write_bytes(kept)
    seen = Seen()
    await run(one, 3, seen)
    assert [q for q, old in seen if old] == list(MANY)[:5]
    assert sorted(q for q, old in seen if not old) == sorted(list(MANY)[5:])
    assert one.saved.records.read_bytes().startswith(kept)
    assert one.saved.read_run() == whole


@pytest.mark.parametrize("torn", [b'{"kind": "ranking", "ver', b'{"kind": "ranking"}\n', b"\0\0\n"])
async def test_an_incomplete_last_record_is_ranked_again(tmp_path, torn):
    (one,) = trial(tmp_path / "out", read_folder(beir(tmp_path / "fleas")))
    await run(one, 1, Seen())
    whole = one.saved.records.read_bytes()
    with one.saved.records.open("ab") as file:
        file.write(torn)
    assert await run(one, 1, Seen()) == [
        "the last record was incomplete; its query was ranked again"
    ]
    assert one.saved.records.read_bytes() == whole


async def test_a_record_damaged_in_the_middle_is_an_error_with_its_line(tmp_path):
    (one,) = trial(tmp_path / "out", read_folder(beir(tmp_path / "fleas")))
    await run(one, 1, Seen())
    lines = one.saved.records.read_bytes().splitlines(keepends=True)
    one.saved.records.write_bytes(lines[0] + b"{\n" + lines[2])
    with pytest.raises(
        InputError, match=r"records\.jsonl, line 2: .*delete that line, and its query"
    ):
        await run(one, 1, Seen())


async def test_records_without_a_manifest_are_refused(tmp_path):
    (one,) = trial(tmp_path / "out", read_folder(beir(tmp_path / "fleas")))
    await run(one, 1, Seen())
    one.saved.manifest.unlink()
    with pytest.raises(InputError, match="has records without a manifest; delete that folder"):
        await run(one, 1, Seen())


async def test_a_collection_that_moved_is_the_same(tmp_path):
    (one,) = trial(tmp_path / "out", read_folder(beir(tmp_path / "old/fleas")))
    await run(one, 1, Seen())
    (tmp_path / "old").rename(tmp_path / "new")
    (again,) = trial(tmp_path / "out", read_folder(tmp_path / "new/fleas"))
    seen = Seen()
    await run(again, 2, seen)
    assert all(kept for _, kept in seen)


async def test_another_run_in_the_same_folder_is_refused_with_the_differences(tmp_path):
    collection = read_folder(beir(tmp_path / "fleas"))
    (one,) = trial(tmp_path / "out", collection)
    await run(one, 1, Seen())
    text = one.saved.records.read_bytes()
    for changed, message in (
        ({"blend": 0.5}, "system.blend was 0.0 and is 0.5"),
        ({"judge": policy("embedded")}, "system.policy was 'lexical:words:"),
    ):
        (other,) = trial(tmp_path / "out", collection, **changed)
        with pytest.raises(InputError, match=re.escape(message)):
            await run(other, 1, Seen())
    beir(tmp_path / "fleas", instruction="Facts only.")
    with pytest.raises(
        InputError,
        match=r"instruction was '' and is 'Facts only\.'; hash was '[0-9a-f]{8}' and is ",
    ):
        trial(tmp_path / "out", read_folder(tmp_path / "fleas"))
    assert one.saved.records.read_bytes() == text


async def test_a_policy_that_fails_on_every_third_query(tmp_path):
    (one,) = trial(tmp_path / "out", many(tmp_path / "fleas"), EveryThird())
    await run(one, 4, Seen())
    failed = {r["run"] for r in records(one) if any(f["kind"] == "failed" for f in r["faults"])}
    assert failed == {"q0", "q3", "q6", "q9"}
    run_ = one.saved.read_run()
    assert list(run_) == list(MANY), "a query that failed keeps its first-stage order"
    assert run_["q0"] == tuple(one.first_stage.lists["q0"])


async def test_failures_that_come_faster_than_answers_do_not_end_a_run(tmp_path):
    (one,) = trial(tmp_path / "out", many(tmp_path / "fleas"), Uneven())
    await run(one, 12, Seen())
    assert len(one.saved.read_run()) == 12


async def test_failed_queries_are_ranked_again_the_next_time(tmp_path):
    collection = many(tmp_path / "fleas")
    (one,) = trial(tmp_path / "out", collection, EveryThird())
    await run(one, 4, Seen())
    (again,) = trial(tmp_path / "out", collection, Judge())
    seen = Seen()
    await run(again, 1, seen)
    assert [q for q, kept in seen if not kept] == ["q0", "q3", "q6", "q9"]
    assert again.saved.read_run()["q0"] != tuple(one.first_stage.lists["q0"])
    assert len(records(again)) == 16, "the failures stay on record"
    last = {ranking.run: ranking for ranking in again.saved.rankings()}
    assert len(last) == len(list(again.saved.rankings())) == 12
    assert not any(fault.kind == "failed" for ranking in last.values() for fault in ranking.faults)
    assert [r.run for r in again.saved.rankings({"q3", "zz"})] == ["q3"]


async def test_an_unavailable_policy_ends_the_run_and_records_stay(tmp_path):
    collection = many(tmp_path / "fleas")
    (one,) = trial(tmp_path / "out", collection, Gone(4))
    with pytest.raises(PolicyError) as error:
        await run(one, 1, Seen())
    assert str(error.value) == (
        "ours failed on 5 queries in a row (ConnectionError: connection refused); 4 of 12 are "
        "done; the same command resumes from there"
    )
    assert len(records(one)) == 9
    assert not one.saved.run.exists()
    (again,) = trial(tmp_path / "out", collection, Judge())
    seen = Seen()
    await run(again, 1, seen)
    assert sum(kept for _, kept in seen) == 4
    assert len(again.saved.read_run()) == 12


async def test_a_query_without_candidates_has_a_record_and_no_line_in_the_run(tmp_path):
    queries = QUERIES | {"q4": "zymurgy"}
    folder = beir(tmp_path / "fleas", queries=queries, qrels={q: {"eggs": 1} for q in queries})
    (one,) = trial(tmp_path / "out", read_folder(folder))
    await run(one, 1, Seen())
    ranking = next(r for r in one.saved.rankings() if r.run == "q4")
    assert (ranking.ids, ranking.faults[0].kind) == ((), "nothing")
    assert list(one.saved.read_run()) == list(QUERIES)


async def test_shuffles_are_repeatable_and_in_folders_of_their_own(tmp_path):
    collection = read_folder(beir(tmp_path / "fleas"))
    one, first, second = trial(tmp_path / "out", collection, policy("first-stage"), 2)
    for each in (one, first, second):
        await run(each, 1, Seen())
    assert first.saved.folder == one.saved.folder / "shuffle-1"
    orders = [each.saved.read_run()["q3"] for each in (one, first, second)]
    assert len(set(orders)) > 1
    assert len({tuple(sorted(order)) for order in orders}) == 1
    again = trial(tmp_path / "again", collection, policy("first-stage"), 2)[1]
    await run(again, 1, Seen())
    assert again.saved.read_run() == first.saved.read_run()


async def test_a_full_disk_stops_the_run_and_keeps_whole_records(tmp_path):
    (one,) = trial(tmp_path / "out", many(tmp_path / "fleas"))
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limit[1]))
    try:
        with pytest.raises(SetupError, match=r"records\.jsonl cannot be written: "):
            await run(one, 1, Seen())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    kept = list(one.saved.rankings())
    assert 0 < len(kept) < 12
    assert all(isinstance(ranking, Ranking) for ranking in kept)
    await run(one, 1, Seen())
    assert len(one.saved.read_run()) == 12


SLOW = """
import asyncio, sys
sys.path[:0] = [{tests!r}, {here!r}]
from pathlib import Path
from helpers.policies import Slow
from test_eval_run import many, trial
from rearank_evals.runs.run import run
(one,) = trial(Path({out!r}), many(Path({folder!r})), Slow(0.1))
asyncio.run(run(one, 2, lambda ranking, kept: print(ranking.run, flush=True)))
"""


def test_kill_9_loses_only_what_was_in_flight(tmp_path):
    here = Path(__file__).parent
    code = SLOW.format(
        tests=str(here.parent),
        here=str(here),
        out=str(tmp_path / "out"),
        folder=str(tmp_path / "fleas"),
    )
    many(tmp_path / "fleas")
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    done = [child.stdout.readline().strip() for _ in range(4)]
    os.kill(child.pid, signal.SIGKILL)
    done += child.stdout.read().split()
    child.wait()
    child.stdout.close()
    saved = RunFolder(tmp_path / "out/fleas/ours")
    saved.repair()
    kept = [ranking.run for ranking in saved.rankings()]
    assert set(done) <= set(kept)
    assert 4 <= len(kept) < 12
    (again,) = trial(tmp_path / "out", many(tmp_path / "fleas"), Judge())
    seen = Seen()
    asyncio.run(run(again, 2, seen))
    assert [q for q, old in seen if old] == kept
    assert len(again.saved.read_run()) == 12


def test_what_differs_in_a_long_fingerprint_is_named_alone(tmp_path):
    write_or_check(tmp_path / "manifest.json", {"policy": "vllm:m order think cut=1200 seed=0"})
    with pytest.raises(InputError, match="policy was 'cut=1200' and is 'cut=400'; new was None"):
        write_or_check(
            tmp_path / "manifest.json", {"policy": "vllm:m order think cut=400 seed=0", "new": 1}
        )


async def test_two_processes_do_not_write_to_one_folder(tmp_path):
    (one,) = trial(tmp_path / "out", read_folder(beir(tmp_path / "fleas")))
    busy = r"another eval is running in .*ours; wait for it, or name another --out"
    with one.saved.locked():
        with pytest.raises(InputError, match=busy):
            await run(one, 1, Seen())
        assert not one.saved.manifest.exists(), "written by one that does not hold the lock"
        one.saved.write_manifest(one.manifest)  # replaces files, not what is locked
        with pytest.raises(InputError, match=busy):
            await run(one, 1, Seen())
    await run(one, 1, Seen())


def test_names_of_folders_are_one_to_one():
    names = ["vllm:org/model", "vllm_org_model", "a/b", "a%2Fb", "..", "embedded (runs)"]
    folders = [folder_name(name) for name in names]
    assert len(set(folders)) == len(names)
    assert not any("/" in folder or folder in (".", "..") for folder in folders)
