"""A model behind HTTP: a stub server that is slow, wrong, broken or gone."""

import asyncio
import json
import time
from base64 import b64encode

import pytest
from starlette.responses import Response

from helpers.stub import Stub, backwards, completion, endless, half
from rearank_agent import Fault, Passage, PolicyError, Reranker, SetupError
from rearank_agent.listwise import build_prompt
from rearank_agent.listwise.answer_format import answer_prefix, answer_regex
from rearank_agent.llm.limits import Cap, process_cap
from rearank_agent.llm.policy import LLM
from rearank_agent.llm.vllm import VLLMModel
from rearank_agent.types import Task, Usage

PASSAGES = tuple(Passage(c, f"passage {c}") for c in "abc")
TASK = Task("run", "query", candidates=PASSAGES)
ALL = (0, 1, 2)
CODED = b64encode(b"me:hunter@22/x").decode()


KEPT = []  # a policy that outlives its event loop is closed by it


def policy(stub, **how):
    KEPT.append(LLM(lambda: VLLMModel("m", stub.url), name="vllm:m", **how))
    return KEPT[-1]


async def until(true):
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_the_http_request(stub):
    reply = await policy(stub).judge(TASK, ALL)
    assert reply.order == (2, 1, 0)
    assert reply.usage == Usage(calls=1, prompt_tokens=100, thought_tokens=3, answer_tokens=7)
    (body,) = stub.bodies
    assert body == {
        "model": "m", "messages": list(build_prompt("query", PASSAGES).messages), "max_tokens": 2048,
        "temperature": 0.0, "seed": 0, "repetition_penalty": 1.0,
    }  # fmt: skip


async def test_thinking_is_switched_off_or_given_an_effort(stub):
    await policy(stub, think=False).judge(TASK, ALL)
    await policy(stub, effort="low").judge(TASK, ALL)
    assert stub.bodies[0]["chat_template_kwargs"] == {"enable_thinking": False}
    assert stub.bodies[1]["reasoning_effort"] == "low"


async def test_reasoning_the_server_parsed_out_is_read(stub):
    stub.script = lambda body: completion("<answer>[2] > [1] > [3]</answer>", reasoning="[2] wins.")
    reply = await policy(stub).judge(TASK, ALL)
    assert (reply.order, reply.reasoning) == ((1, 0, 2), "[2] wins.")


async def test_truncated_reasoning_is_closed_and_continued_with_a_constraint(stub):
    stub.script = lambda body: completion(
        "[3] > [1] > [2]</answer>" if "structured_outputs" in body else "<think>\nFirst [2",
        "stop" if "structured_outputs" in body else "length",
    )
    reply = await policy(stub).judge(TASK, ALL)
    assert reply.order == (2, 0, 1)
    assert reply.reasoning == "First [2"
    assert [fault.kind for fault in reply.faults] == ["reasked"]
    again = stub.bodies[1]
    assert again["messages"][:-1] == stub.bodies[0]["messages"]
    assert again["messages"][-1] == {"role": "assistant", "content": answer_prefix("First [2")}
    assert again["continue_final_message"] is True
    assert again["add_generation_prompt"] is False
    assert again["structured_outputs"] == {"regex": answer_regex(3)}


async def test_where_a_turn_cannot_be_continued_another_turn_asks(stub):
    def script(body):
        if "structured_outputs" in body:
            return Response('{"error": {"message": "cannot continue"}}', status_code=400)
        return completion("prose") if len(stub.bodies) == 1 else backwards(body)

    stub.script = script
    reply = await policy(stub).judge(TASK, ALL)
    assert reply.order == (2, 1, 0)
    assert [body["messages"][-1]["role"] for body in stub.bodies] == ["user", "assistant", "user"]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Response("oops [1] > [3]", status_code=500), "the server answered 500: oops"),
        (Response(status_code=404), "the server answered 404"),
        (
            Response('{"error": {"message": "no such model"}}', status_code=404),
            "the server answered 404: no such model",
        ),
        (Response("[3] > [2] > [1]"), "the server's answer is not JSON"),
        (Response("{"), "not JSON"),
        (Response('"[3] > [1]"'), "not JSON"),
        (Response("{}"), "no chat completion: {}"),
        (Response('{"choices": []}'), "no chat completion"),
        (Response('{"choices": [{"message": null}]}'), "no chat completion"),
        ("reset", "127.0.0.1"),
        (half(), "127.0.0.1"),
    ],
)
async def test_a_broken_answer_is_an_error_with_its_text(stub, answer, said, monkeypatch):
    monkeypatch.setattr("rearank_agent.llm.limits.RETRIES", 0)
    stub.script = lambda body: answer
    with pytest.raises(PolicyError, match=said):
        await policy(stub).judge(TASK, ALL)


async def test_busy_servers_are_retried(stub):
    def script(body):
        if len(stub.bodies) == 1:
            return Response("wait", status_code=429, headers={"Retry-After": "0"})
        return "reset" if len(stub.bodies) == 2 else backwards(body)

    stub.script = script
    reply = await policy(stub).judge(TASK, ALL)
    assert (reply.order, reply.usage.calls) == ((2, 1, 0), 3)


async def test_a_reply_without_end_is_bounded(stub, monkeypatch):
    monkeypatch.setattr("rearank_agent.llm.endpoint.MAX_BYTES", 1_000_000)
    stub.script = lambda body: endless()
    with pytest.raises(PolicyError, match="the server sent more than 1,000,000 bytes"):
        await policy(stub).judge(TASK, ALL)


async def test_a_reply_of_a_megabyte_is_read_and_one_of_ten_is_not(stub):
    stub.script = lambda body: completion("x" * 1_000_000 + "<answer>[3] > [2] > [1]</answer>")
    reply = await policy(stub).judge(TASK, ALL)
    assert (reply.order, reply.faults) == ((2, 1, 0), ())
    stub.script = lambda body: completion("x" * 10_000_000 + "<answer>[3] > [2] > [1]</answer>")
    with pytest.raises(PolicyError, match="the server sent more than 2,097,152 bytes"):
        await policy(stub).judge(TASK, ALL)


async def test_a_call_that_takes_too_long_fails_once(stub):
    stub.script = lambda body: 30
    start = time.perf_counter()
    with pytest.raises(PolicyError, match=r"timed out after 0\.2 seconds"):
        await policy(stub, timeout=0.2).judge(TASK, ALL)
    assert time.perf_counter() - start < 5
    assert len(stub.bodies) == 1


async def test_an_unreachable_server(monkeypatch):
    monkeypatch.setattr("rearank_agent.llm.chat.retry_pause", lambda error, failures: None)
    with Stub() as gone:
        pass
    monkeypatch.setattr("pydantic_ai.models.ALLOW_MODEL_REQUESTS", True)
    with pytest.raises(PolicyError, match=f"{gone.url}: "):
        await policy(gone).judge(TASK, ALL)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000/v1"),
        ("http://127.0.0.1:8000/", "http://127.0.0.1:8000/v1"),
        ("https://models.example/api/v1/", "https://models.example/api/v1"),
    ],
)
def test_addresses(url, address):
    assert VLLMModel("m", url).base_url == address


@pytest.mark.parametrize("url", ["", "127.0.0.1:8000", "ftp://x", "http://"])
def test_invalid_addresses(url, monkeypatch):
    monkeypatch.delenv("VLLM_BASE_URL", raising=False)
    with pytest.raises(SetupError, match="VLLM_BASE_URL"):
        VLLMModel("m", url)


async def test_a_key_is_sent_and_never_shown(stub, monkeypatch):
    monkeypatch.setenv("VLLM_API_KEY", "very-secret-key")
    stub.script = lambda body: Response('{"error": "bad very-secret-key"}', status_code=401)
    judge = LLM(lambda: VLLMModel("m", stub.url))
    with pytest.raises(PolicyError) as raised:
        await judge.judge(TASK, ALL)
    assert stub.keys == ["Bearer very-secret-key"]
    assert str(raised.value) == "the server answered 401: bad ***"
    assert "very-secret-key" not in repr(judge.chat.first_model) + judge.fingerprint


async def test_a_window_is_truncated_until_it_fits_the_model(stub):
    stub.models = [{"id": "m", "max_model_len": 1500}]
    stub.count = lambda body: sum(len(m["content"]) for m in body["messages"]) // 4
    task = Task("run", "query", candidates=(Passage("x", "word " * 900), Passage("y", "short")))
    reply = await policy(stub, cut=9000).judge(task, (0, 1))
    assert reply.order == (1, 0)
    (fault,) = reply.faults
    assert (fault.kind, fault.ids) == ("cut", ("x",))
    (body,) = stub.bodies
    tokens = stub.count(body)
    assert 500 < tokens < 750
    assert body["max_tokens"] + tokens + 40 <= 1500


async def test_a_server_that_refuses_a_length_gets_shorter_passages(stub):
    def script(body):
        size = sum(len(m["content"]) for m in body["messages"])
        said = "This model's maximum context length is 700 tokens. However, ..."
        refusal = Response(json.dumps({"error": {"message": said}}), status_code=400)
        return refusal if size > 2000 else backwards(body)

    stub.script = script
    task = Task("run", "query", candidates=(Passage("x", "word " * 900), Passage("y", "short")))
    reply = await policy(stub).judge(task, (0, 1))
    assert reply.order == (1, 0)
    assert reply.faults == (
        Fault(
            "cut",
            ("x",),
            "only the first 600 characters were shown; split longer passages to show all",
        ),
    )


async def test_the_length_is_asked_for_once(stub):
    stub.models = [{"id": "m", "max_model_len": 30_000}]
    reranker = Reranker(policy(stub, window=2), schedule="tournament:2")
    await reranker.rerank("q", list("abcdefgh"))
    assert stub.lookups == 1


@pytest.mark.parametrize(
    "how", [{"VLLM_API_KEY": " very-secret-key\n"}, {"key": "very-secret-key"}]
)
async def test_a_key_of_any_origin_is_redacted(stub, monkeypatch, how):
    for name in how.keys() - {"key"}:
        monkeypatch.setenv(name, how[name])
    stub.script = lambda body: Response('{"error": "bad very-secret-key"}', status_code=401)
    KEPT.append(LLM(lambda: VLLMModel("m", stub.url, how.get("key", ""))))
    ranking = await Reranker(KEPT[-1]).rerank("q", ["a", "b"])
    assert [fault.detail for fault in ranking.faults] == [
        "PolicyError: the server answered 401: bad ***"
    ]


def test_logins_in_addresses_are_redacted(monkeypatch):
    judge = LLM(lambda: VLLMModel("m", "http://user:hunter22@127.0.0.1:9"))
    ranking = Reranker(judge).rerank_sync("q", ["a", "b"])
    assert "hunter22" not in ranking.to_json()
    assert "at=http://***@127.0.0.1:9/v1" in ranking.policy
    for url in ("http://h/v1?key=hunter22", "user:hunter22@host/v1"):
        with pytest.raises(SetupError, match="VLLM_BASE_URL must be a plain address") as raised:
            VLLMModel("m", url)
        assert "hunter22" not in str(raised.value)


@pytest.mark.parametrize("password", ["hunter@22", "hunter/22", "h/x@22"])
def test_a_password_that_is_not_encoded_is_refused_unseen(password):
    with pytest.raises(SetupError) as raised:
        VLLMModel("m", f"http://me:{password}@127.0.0.1:9/v1")
    assert str(raised.value) == "VLLM_BASE_URL: write @ in a password as %40, and / as %2F"


@pytest.mark.parametrize("said", ["hunter@22/x", "hunter%4022%2Fx", CODED, CODED.rstrip("=")])
async def test_a_login_that_a_server_repeats_is_redacted(stub, said):
    stub.script = lambda body: Response(f'{{"error": "bad {said} here"}}', status_code=401)
    url = stub.url.replace("//", "//me:hunter%4022%2Fx@")
    KEPT.append(LLM(lambda: VLLMModel("m", url)))
    ranking = await Reranker(KEPT[-1]).rerank("q", ["a", "b"])
    assert [fault.detail for fault in ranking.faults] == [
        "PolicyError: the server answered 401: bad *** here"
    ]


def test_failed_calls_are_counted(stub):
    stub.script = lambda body: Response(status_code=501)
    ranking = Reranker(policy(stub)).rerank_sync("q", ["a", "b"])
    assert (ranking.usage.calls, len(stub.bodies)) == (4, 4)


async def test_tokens_counted_separately_are_not_divided_again(stub):
    def script(body):
        answer = completion("<think>\nlong\n</think>\n<answer>[1] > [2] > [3]</answer>")
        answer["usage"] |= {
            "completion_tokens": 100,
            "completion_tokens_details": {"reasoning_tokens": 90},
        }
        return answer

    stub.script = script
    usage = (await policy(stub).judge(TASK, ALL)).usage
    assert (usage.thought_tokens, usage.answer_tokens) == (90, 10)


async def test_an_answer_that_a_reasoning_parser_swallows_is_read(stub):
    def script(body):
        if "structured_outputs" in body:
            return completion(None, reasoning="[3] > [1] > [2]</answer>")
        return completion(None, "length", reasoning="First [2")

    stub.script = script
    reply = await policy(stub).judge(TASK, ALL)
    assert reply.order == (2, 0, 1)
    assert [fault.kind for fault in reply.faults] == ["reasked"]


def test_event_loops_that_ended_are_forgotten(stub):
    judge = policy(stub)
    for _ in range(3):
        asyncio.run(judge.judge(TASK, ALL))
    assert judge.chat._per_loop._made == {}
    assert judge.chat._per_loop._open == {}


async def test_a_query_that_fits_no_model(stub):
    stub.models = [{"id": "m", "max_model_len": 500}]
    with pytest.raises(PolicyError, match="does not fit: the model takes 500 tokens"):
        await policy(stub).judge(TASK, ALL)
    assert stub.bodies == []


async def test_cancelling_a_request_ends_its_calls_at_the_server(stub):
    stub.script = lambda body: 30
    reranker = Reranker(policy(stub), schedule="tournament:2")
    request = asyncio.create_task(reranker.rerank("q", ["x"] * 6))
    await until(lambda: stub.running == 3)
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    await until(lambda: not stub.running)
    assert stub.given_up == 3


async def test_the_cap_bounds_the_calls_in_flight(stub, monkeypatch):
    cap = Cap(3)
    monkeypatch.setattr("rearank_agent.llm.chat.process_cap", lambda: cap)
    stub.script = lambda body: 0.05
    reranker = Reranker(policy(stub, window=4), schedule="tournament:4")
    rankings = await asyncio.gather(*(reranker.rerank("q", ["x"] * 16) for _ in range(3)))
    assert {ranking.usage.calls for ranking in rankings} == {7}
    assert stub.most == 3


def test_the_deadline_returns_what_was_ranked_until_then(stub):
    def script(body):
        slow = any("slow" in message["content"] for message in body["messages"])
        return 30 if slow else backwards(body)

    stub.script = script
    reranker = Reranker(policy(stub, window=2), schedule="tournament:2", deadline=1.0)
    ranking = reranker.rerank_sync("q", ["a", "b", "slow", "d"])
    assert ranking.partial is True
    assert ranking.ids == ("1", "4", "3", "2"), "b d was ranked, a slow was not"
    assert [fault.kind for fault in ranking.faults] == ["deadline"]
    assert [step.window for step in ranking.steps] == [(1, 3)]


def test_a_dead_server_fails_the_request_fast(stub):
    stub.script = lambda body: Response('{"error": {"message": "out of memory"}}', status_code=501)
    start = time.perf_counter()
    ranking = Reranker(policy(stub), schedule="sliding:2:1").rerank_sync("q", list("abcdefgh"))
    assert ranking.ids == tuple("12345678")
    assert ranking.partial is True
    assert [f.kind for f in ranking.faults] == ["failed"]
    assert ranking.faults[0].detail == "PolicyError: the server answered 501: out of memory"
    assert len(ranking.steps) == 1, "nothing came of the first turn"
    assert len(stub.bodies) == 4
    assert time.perf_counter() - start < 10


def test_a_policy_serves_several_event_loops(stub):
    judge = policy(stub)
    for _ in range(3):
        assert asyncio.run(judge.judge(TASK, ALL)).order == (2, 1, 0)
    assert Reranker(judge).rerank_sync("q", ["a", "b"]).ids == ("2", "1")


def test_the_process_has_one_cap():
    assert process_cap() is process_cap()
    assert process_cap().max_calls == 32
