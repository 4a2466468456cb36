"""Servers that speak OpenAI's chat completions, each in its own way."""

import json
import math

import pytest
from pydantic_ai.exceptions import ModelHTTPError
from starlette.responses import JSONResponse

from helpers.stub import backwards, completion
from rearank_agent import Fault, Passage, PolicyError, SetupError
from rearank_agent.llm.chat_completions import to_response
from rearank_agent.llm.endpoint import Endpoint
from rearank_agent.llm.policy import LLM
from rearank_agent.llm.provider import model_factory
from rearank_agent.types import Task

PASSAGES = tuple(Passage(c, f"passage {c} " + "and more words " * 40) for c in "abc")
TASK = Task("run", "query", candidates=PASSAGES)
ALL = (0, 1, 2)
ANSWER = "<answer>[3] > [2] > [1]</answer>"
TOO_LONG = {
    "openai": (400, {"error": {"message": "too many for it", "code": "context_length_exceeded"}}),
    "llama.cpp": (
        400,
        {"error": {
            "code": 400, "type": "exceed_context_size_error",
            "message": "request (9000 tokens) exceeds the available context size (4096 tokens)",
        }},
    ),
    "vllm": (400, {"error": {"message": "This model's maximum context length is 4096 tokens."}}),
    "sglang": (400, {
        "object": "error",
        "message": "The input (9000 tokens) is longer than the model's context length (4096 tokens).",
    }),
    "lm studio": (400, {"error": (
        "Trying to keep the first 9000 tokens when context the overflows. However, the model is "
        "loaded with context length of only 4096 tokens, which is not enough."
    )}),
    "tgi": (422, {
        "error": "Input validation error: `inputs` must have less than 1024 tokens. Given: 2000",
        "error_type": "validation",
    }),
    "tgi, both": (422, {"error": "`inputs` tokens + `max_new_tokens` must be <= 2048."}),
    "groq": (400, {"error": {"message": "Please reduce the length of the messages or completion."}}),
    "anthropic": (400, {"error": {
        "type": "invalid_request_error", "message": "prompt is too long: 204837 tokens > 200000",
    }}),
    "anthropic, both": (400, {"error": {
        "message": "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000",
    }}),
    "gemini": (400, {"error": {"code": 400, "status": "INVALID_ARGUMENT", "message": (
        "The input token count (1500000) exceeds the maximum number of tokens allowed (1048575)."
    )}}),
    "mistral": (400, {"message": "Prompt contains 9000 tokens, too large for model with 4096."}),
    "by status": (413, {"error": "Payload"}),
}  # fmt: skip


@pytest.fixture
def chat(stub, monkeypatch):
    """A function that makes the policy as `--policy openai-chat:NAME` does, a name of its own."""
    monkeypatch.setenv("OPENAI_BASE_URL", stub.url)
    monkeypatch.setenv("OPENAI_API_KEY", "a-secret-key")
    return lambda name, **how: LLM(f"openai-chat:{name}", **how)


async def test_the_request_has_no_field_of_one_server_alone(stub, chat):
    reply = await chat("plain").judge(TASK, ALL)
    assert (reply.order, reply.faults) == ((2, 1, 0), ())
    (body,) = stub.bodies
    assert {key: body[key] for key in body if key != "messages"} == {
        "model": "plain", "max_tokens": 2048, "temperature": 0.0, "seed": 0,
    }  # fmt: skip
    assert stub.keys == ["Bearer a-secret-key"]


@pytest.mark.parametrize("url", ["https://api.openai.com/v1", "https://eu.openai.com/v1", ""])
def test_the_models_of_openai_stay_with_pydantic_ai(url, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "any")
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    assert not isinstance(model_factory("openai-chat:gpt-5")(), Endpoint)


@pytest.mark.parametrize("server", TOO_LONG)
@pytest.mark.parametrize("provider", ["openai-chat", "vllm"])
async def test_too_long_is_known_in_the_words_of_each_server(stub, provider, server, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", stub.url)
    monkeypatch.setenv("VLLM_BASE_URL", stub.url)
    status, error = TOO_LONG[server]

    def script(body):
        long = sum(len(turn["content"]) for turn in body["messages"]) > 2500
        return JSONResponse(error, status_code=status) if long else backwards(body)

    stub.script = script
    reply = await LLM(f"{provider}:long").judge(TASK, ALL)
    assert (reply.order, {fault.kind for fault in reply.faults}) == ((2, 1, 0), {"cut"})


def refusing(field, message, status=400):
    """A server that refuses a field by these words."""

    def script(body):
        if field in body:
            return JSONResponse({"error": {"message": message}}, status_code=status)
        return backwards(body)

    return script


@pytest.mark.parametrize(
    ("field", "words", "status", "detail"),
    [
        (
            "temperature",
            "Unsupported value: 'temperature' does not support 0 with this model.",
            400,
            "the server refused temperature",
        ),
        (
            "seed",
            [{"loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}],
            422,
            "the server refused seed",
        ),
        (
            "max_tokens",
            "Unsupported parameter: 'max_tokens' is not supported with this model. "
            "Use 'max_completion_tokens' instead.",
            400,
            "the server refused max_tokens, sent as max_completion_tokens",
        ),
        (
            "reasoning_effort",
            "Unrecognized request argument supplied: reasoning_effort",
            400,
            "the server refused thinking",
        ),
    ],
)
async def test_a_setting_that_is_refused_is_not_sent_again(
    stub, chat, field, words, status, detail
):
    stub.script = refusing(field, words, status)
    name = f"refuses-{field}"
    for calls in (2, 3):
        judge = chat(name, effort="low")  # another policy: the process remembers
        reply = await judge.judge(TASK, ALL)
        assert (reply.order, reply.faults) == ((2, 1, 0), (Fault("setting", (), detail),))
        assert len(stub.bodies) == calls
    assert ("max_completion_tokens" in stub.bodies[-1]) == (field == "max_tokens")


async def test_vllm_settings_are_dropped_too(stub, monkeypatch):
    monkeypatch.setenv("VLLM_BASE_URL", stub.url)
    stub.script = refusing("repetition_penalty", "repetition_penalty is not supported")
    reply = await LLM("vllm:plain").judge(TASK, ALL)
    detail = "the server refused repetition_penalty"
    assert (reply.order, reply.faults) == ((2, 1, 0), (Fault("setting", (), detail),))


async def test_a_refusal_that_names_no_setting_is_an_error(stub, chat):
    stub.script = lambda body: JSONResponse({"error": "the moon is full"}, status_code=400)
    with pytest.raises(PolicyError, match="the server answered 400: the moon is full"):
        await chat("moon").judge(TASK, ALL)
    assert len(stub.bodies) == 1


async def test_a_setting_is_remembered_only_where_its_absence_helped(stub, chat):
    stub.script = lambda body: JSONResponse({"error": "no temperature today"}, status_code=400)
    judge = chat("forgets")
    with pytest.raises(PolicyError, match="no temperature today"):
        await judge.judge(TASK, ALL)
    assert judge.chat.refusals.known == {}
    stub.script = backwards
    assert (await judge.judge(TASK, ALL)).faults == ()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"error": {"message": "Provider overloaded", "code": 502}}, "answered 502: Provider over"),
        ({"error": {"message": "No credits", "code": "payment"}}, "answered 200: No credits"),
        ({"error": "gone fishing"}, "answered 200: gone fishing"),
        ({"choices": [{"error": {"message": "cut by upstream", "code": 504}}]}, "504: cut by"),
        ({"choices": [], "note": "nothing left"}, "no chat completion: .*nothing left"),
    ],
)
async def test_an_error_in_a_good_answer_keeps_its_words(stub, chat, body, said, monkeypatch):
    monkeypatch.setattr("rearank_agent.llm.limits.RETRIES", 0)
    stub.script = lambda _: body
    with pytest.raises(PolicyError, match=said):
        await chat("inside").judge(TASK, ALL)


@pytest.mark.parametrize(
    "change",
    [
        {"id": None, "model": None, "created": None, "object": None, "usage": None},
        {"usage": {"prompt_tokens": 9, "completion_tokens": None}},
        {"choices": [{"message": {"content": ANSWER}}]},
        {"choices": [{"message": {"content": ANSWER}, "finish_reason": ""}], "error": None},
        {"choices": [{"message": {"content": [{"type": "text", "text": ANSWER}]}}]},
    ],
)
@pytest.mark.parametrize("provider", ["openai-chat", "vllm"])
async def test_fields_may_be_missing(stub, change, provider, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", stub.url)
    monkeypatch.setenv("VLLM_BASE_URL", stub.url)
    value = completion(ANSWER) | change
    stub.script = lambda _: {key: one for key, one in value.items() if one is not None}
    reply = await LLM(f"{provider}:fields").judge(TASK, ALL)
    assert (reply.order, reply.faults) == ((2, 1, 0), ())


async def test_reasoning_may_come_as_parts(stub, chat):
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "[3] wins."}]},
        {"type": "text", "text": ANSWER},
    ]
    stub.script = lambda _: json.loads(json.dumps(completion(parts)))
    reply = await chat("parts").judge(TASK, ALL)
    assert (reply.order, reply.reasoning) == ((2, 1, 0), "[3] wins.")


@pytest.mark.parametrize("proxy", ["http://127.0.0.1:9", "socks5://127.0.0.1:9"])
@pytest.mark.parametrize("provider", ["openai-chat", "vllm"])
async def test_no_proxy_goes_to_loopback(stub, provider, proxy, monkeypatch):
    for name in ("ALL_PROXY", "HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, proxy)
    monkeypatch.setenv("OPENAI_BASE_URL", stub.url)
    monkeypatch.setenv("VLLM_BASE_URL", stub.url)
    assert (await LLM(f"{provider}:near").judge(TASK, ALL)).order == (2, 1, 0)


@pytest.mark.parametrize("host", ["localhost", "gpu.localhost", "127.8.0.1", "[::1]", "0.0.0.0"])
def test_every_name_of_this_machine_is_reached_past_a_proxy(host, monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "carrier-pigeon://127.0.0.1:9")
    assert Endpoint("m", f"http://{host}:8000").base_url == f"http://{host}:8000/v1"


def test_a_proxy_that_cannot_be_used_is_named(monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "carrier-pigeon://user:hunter22@127.0.0.1:9")
    with pytest.raises(SetupError, match="the proxy that the environment names") as raised:
        Endpoint("m", "http://gpu.invalid:8000/v1")
    assert "hunter22" not in str(raised.value)


async def test_a_server_need_not_list_its_models(stub, chat):
    assert await chat("unlisted").chat.check_served() is None
    stub.models = [{"id": "another"}]
    with pytest.raises(PolicyError, match="serves another, and no 'listed'"):
        await chat("listed").chat.check_served()


def test_only_vllm_is_asked_where_the_model_is(stub, chat, run, tmp_path):
    passages = tmp_path / "passages.txt"
    passages.write_text("one\ntwo\n")
    assert run("rerank", "q", str(passages), "--policy", "openai-chat:m", "--no-cache")[0] == 0
    assert stub.lookups == 0


@pytest.mark.parametrize("count", [-1, 10**400, "3", math.inf, math.nan, [1]], ids=str)
def test_a_number_of_tokens_that_is_none_counts_as_0(count):
    usage = {"prompt_tokens": count, "completion_tokens": count,
             "prompt_tokens_details": {"cached_tokens": count},
             "completion_tokens_details": {"reasoning_tokens": count}}  # fmt: skip
    for used in (usage, {**usage, "completion_tokens_details": count}, count):
        response = to_response("m", completion(ANSWER) | {"usage": used})
        assert response.text == ANSWER
        counted = response.usage
        assert (counted.input_tokens, counted.output_tokens, counted.cache_read_tokens) == (0, 0, 0)


@pytest.mark.parametrize("message", ["text", [1], 3])
def test_an_error_beside_a_message_of_another_type_keeps_its_words(message):
    with pytest.raises(ModelHTTPError, match="overloaded"):
        to_response("m", {"choices": [{"error": "overloaded", "message": message}]})
