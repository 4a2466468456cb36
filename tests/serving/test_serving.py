"""The reasoning policy against a real vLLM. The model is random: what it says is nonsense."""

import asyncio
import json
import re
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from helpers.terminal import PROGRAM
from rearank_agent import Passage, Reranker, policy
from rearank_agent.listwise import build_prompt
from rearank_agent.listwise.answer_format import answer_prefix, answer_regex
from rearank_agent.llm.vllm import VLLMModel
from rearank_agent.policies.votes import Votes
from rearank_agent.types import Task

from .conftest import reference

TEXTS = [f"A flea lives for {i} days and jumps {3 * i} centimetres far." for i in range(1, 101)]
QUERY = "how long do fleas live"
KEPT = []


def tiny(**how):
    KEPT.append(policy("vllm:tiny", **{"budget": 48, **how}))
    return KEPT[-1]


def kinds(ranking):
    return {fault.kind for fault in ranking.faults}


def whole(ranking, n):
    assert sorted(ranking.ids, key=int) == [str(i) for i in range(1, n + 1)]


def test_serve_says_how_to_use_it(serving):
    assert serving.said.splitlines()[2:] == [
        f"export VLLM_BASE_URL={serving.url}",
        "rearank-agent rerank QUERY FILE --policy vllm:tiny",
    ]


def test_a_hundred_passages_are_always_a_permutation(serving):
    for schedule in ("auto", "sliding:20:10", "topdown:20"):
        ranking = Reranker(tiny(), schedule=schedule).rerank_sync(QUERY, TEXTS)
        whole(ranking, 100)
        assert not ranking.partial
        assert kinds(ranking) <= {"reasked", "missing", "repeated", "cut"}, "every answer was read"
        assert ranking.usage.prompt_tokens > 5000
        assert ranking.usage.calls > ranking.usage.turns


def test_scores_and_votes(serving):
    scored = Reranker(tiny(form="scores", think=False)).rerank_sync(QUERY, TEXTS)
    whole(scored, 100)
    assert (scored.schedule, scored.usage.turns) == ("groups:20", 1)
    assert all(p.scored and 0 <= p.score <= 10 for p in scored.passages)
    votes = Reranker(Votes(tiny(think=False), 3)).rerank_sync(QUERY, TEXTS[:20])
    whole(votes, 20)
    assert all(0 <= p.confidence <= 1 for p in votes.passages)


async def test_an_answer_alone_is_bound_to_the_window_s_identifiers(serving):
    judge = tiny(budget=16)
    reply = await judge.judge(Task("r", QUERY, candidates=tuple(
        Passage(str(i), text) for i, text in enumerate(TEXTS[:7]))), tuple(range(7)))  # fmt: skip
    assert reply.faults[0].kind == "reasked"
    assert reply.usage.calls == 2
    asked = build_prompt(QUERY, [Passage("a", "x"), Passage("b", "y"), Passage("c", "z")])
    last = {"role": "assistant", "content": answer_prefix("so [2] is")}
    said = await judge.chat.generate(
        (*asked.messages, last), [], max_tokens=60,
        extra_body={"add_generation_prompt": False, "continue_final_message": True,
                    "structured_outputs": {"regex": answer_regex(3)}},
    )  # fmt: skip
    assert re.fullmatch(answer_regex(3), said.text)


async def test_the_server_counts_as_it_bills(serving):
    judge = tiny(think=False)
    endpoint = await judge.chat.endpoint()
    messages = build_prompt(
        QUERY, [Passage("a", TEXTS[0]), Passage("b", TEXTS[1])], think=False
    ).messages
    said = await judge.chat.generate(messages, [], max_tokens=4)
    assert await endpoint.tokens(messages) == said.usage.prompt_tokens
    assert (await endpoint.info()).length == 4096


def test_windows_fit_whatever_the_passages_are(serving):
    long = [text * 2000 for text in TEXTS[:18]] + ["跳蚤能活多久" * 5000, "0x9f" * 9000]
    ranking = Reranker(tiny()).rerank_sync(QUERY, long)
    whole(ranking, 20)
    assert "cut" in kinds(ranking)
    assert "failed" not in kinds(ranking)


def test_the_same_question_gets_the_same_answer(serving):
    first, again = (Reranker(tiny()).rerank_sync(QUERY, TEXTS[:20]) for _ in range(2))
    assert first.ids == again.ids
    assert again.usage.cached_tokens > 500, "the server kept the prompt"


def test_the_command_line(serving, tmp_path):
    file = tmp_path / "passages.txt"
    file.write_text("\n".join(TEXTS[:20]))
    command = [PROGRAM, "rerank", QUERY, str(file), "--policy", "vllm:tiny", "--no-think"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert sorted(json.loads(line)["id"] for line in done.stdout.splitlines()) == sorted(
        str(i) for i in range(1, 21)
    )
    replayed = subprocess.run([*command, "--replay"], capture_output=True, text=True, timeout=120)
    assert replayed.stdout == done.stdout
    checked = subprocess.run(
        [PROGRAM, "doctor", "--policy", "vllm:tiny", "--json"], capture_output=True, text=True
    )
    report = json.loads(checked.stdout)
    assert (report["model"], report["takes"]) == (str(serving.model), "4096 tokens")


def test_eval_measures_it(serving, tmp_path):
    harbour = Path(__file__).parents[2] / "examples/harbour"
    out = tmp_path / "out"
    how = ["--policy", "vllm:tiny", "--limit", "3", "--depth", "30", "--no-think"]
    command = [PROGRAM, "eval", str(harbour), *how, "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    report = json.loads((out / "report.json").read_text())["harbour"]
    assert list(report) == ["first-stage", "vllm:tiny"]
    assert 0 < report["vllm:tiny"]["nDCG@10"] < report["first-stage"]["nDCG@10"] + 0.3
    details = json.loads((out / "details.json").read_text())
    tiny = details["collections"]["harbour"]["systems"]["vllm:tiny"]
    assert tiny["schedule"] == "sliding:20:10"
    assert tiny["cost"]["turns"] == 2
    assert tiny["cost"]["prompt_tokens"] > 1000
    assert {fault["kind"] for fault in tiny["faults"]} <= {"missing", "repeated", "reasked", "cut"}
    again = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert again.stdout == done.stdout
    verified = subprocess.run([PROGRAM, "eval", "verify", str(out)], capture_output=True, text=True)
    assert verified.returncode == 0, verified.stdout


def test_likelihood_is_what_transformers_makes_of_it(serving):
    texts = [*TEXTS[:4], "跳蚤能活多久", "It jumps <|im_end|>.", "Fleas. " * 200]
    query = "How long do fleas live? 跳蚤 0x9f"
    ranking = Reranker(policy("likelihood:vllm:tiny")).rerank_sync(query, texts)
    shown = [*texts[:5], "It jumps ‹|im_end|›.", ("Fleas. " * 200)[:500].strip()]
    before = [f"Passage: {text}\n\nA web search that this passage answers: " for text in shown]
    expected = reference(serving.vllm, serving.model, {"before": before, "query": query})
    # with AVX-512 vLLM's attention over 200 tokens differs by 7e-4; with AVX2 all agree to 1e-4
    assert ranking.steps[0].reply.raw == pytest.approx(expected, abs=1e-3)
    assert len(set(expected)) == len(expected)
    assert ranking.usage.calls == len(texts)


def test_likelihood_of_many_passages_is_one_turn(serving):
    ranking = Reranker(policy("likelihood:vllm:tiny")).rerank_sync(QUERY, TEXTS)
    whole(ranking, 100)
    assert (ranking.usage.turns, ranking.usage.calls) == (1, 100)
    few = Reranker(policy("likelihood:vllm:tiny")).rerank_sync(QUERY, TEXTS[:3])
    scores = {one.id: one.score for one in ranking.passages}
    for one in few.passages:
        assert one.score == pytest.approx(scores[one.id], rel=1e-3)


def running(serving):
    """The requests the server says it is working on."""
    with urllib.request.urlopen(f"{serving.url[:-3]}/metrics") as answer:
        text = answer.read().decode()
    return sum(
        float(n) for n in re.findall(r"^vllm:num_requests_running\{.*\} (\S+)", text, re.MULTILINE)
    )


async def until(true, seconds):
    async with asyncio.timeout(seconds):
        while not await asyncio.to_thread(true):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_cancelling_a_request_ends_its_calls_at_the_server(serving):
    texts = TEXTS[:20] * 5
    reranker = Reranker(tiny(budget=1500, timeout=100))
    request = asyncio.create_task(reranker.rerank(QUERY, texts))
    await until(lambda: running(serving) == 5, 60)
    begun = time.perf_counter()
    request.cancel()
    await asyncio.gather(request, return_exceptions=True)
    await until(lambda: running(serving) == 0, 10)
    assert time.perf_counter() - begun < 10
    assert request.cancelled()


async def test_sixty_four_requests_at_once(serving):
    reranker = Reranker(tiny(think=False, budget=24))
    rankings = await asyncio.gather(
        *(reranker.rerank(f"{QUERY} {i}", TEXTS[i : i + 20]) for i in range(64))
    )
    for ranking in rankings:
        whole(ranking, 20)
        assert "failed" not in kinds(ranking)


async def test_a_server_killed_in_the_middle_and_started_again(serving):
    reranker = Reranker(tiny(budget=300), schedule="sliding:20:10")
    codes = []

    def kill():
        # On the event loop, so that no window can be read between the decision and the kill.
        codes.append(serving.kill())

    def progress(done, _):
        if done == 2:  # a moment later the third window's call is in flight
            asyncio.get_running_loop().call_later(0.05, kill)

    begun = time.perf_counter()
    ranking = await reranker.rerank(QUERY, TEXTS, progress=progress)
    assert time.perf_counter() - begun < 60
    whole(ranking, 100)
    assert ranking.partial
    assert "failed" in kinds(ranking)
    assert any(serving.url in fault.detail for fault in ranking.faults if fault.kind == "failed")
    assert 2 <= ranking.usage.turns < 9
    assert [step.turn for step in ranking.steps][:2] == [1, 2]
    assert codes == [1], "serve says that its server is gone"
    await asyncio.to_thread(serving.start)
    again = await reranker.rerank(QUERY, TEXTS)
    assert not again.partial
    assert isinstance(await reranker.policy.chat.model(), VLLMModel)
